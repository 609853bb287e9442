"""What goes wrong in a run, said while it trains; ``grpokit doctor RUN`` says it with everything that belongs to it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.cli import render
from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.report import NAME, Key, as_data, samples_of
from grpokit.diagnose.rollouts import Sample, measure, samples
from grpokit.diagnose.rows import own_row
from grpokit.diagnose.sources import earlier, goal_of
from grpokit.engine.rundir import RunDir
from grpokit.errors import FindingError
from grpokit.spec.flow import Rollout, Scores, StepRecord

__all__ = ["RunWatch", "tell_diagnosis"]


class RunWatch:
    """Looks at each step of a run, from the steps that it had before ``first`` on.

    If the looking itself fails, that is said once, and no more is looked at: the run goes on. Where
    it ``stops``, a reason to stop ends the run, but only one that is seen in steps from ``first`` on
    alone: what ended a run does not end the next step of the one that resumes it.
    """

    def __init__(self, run: Path, first: int, *, stops: bool = False) -> None:
        self._run = run
        self._first = first
        self._stops = stops
        self._diagnosis: Diagnosis | None = None
        self._began = False
        self._shown: dict[Key, list[Sample]] = {}
        self._reasons: list[Finding] = []
        self._ended = False

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> list[str]:
        """Lines to say after a step: new warnings and reasons to stop, no notes."""
        row = {"step": record.step, **record.metrics, "seconds": record.seconds}
        return self._add(row, rollout, scores)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """The same after an evaluation during training."""
        return self._add({"step": step, **metrics})

    def go_on(self) -> None:
        """Raises FindingError where there is a reason to stop, and the run is to end by it."""
        if not self._stops or not self._reasons:
            return
        self._ended = True
        names = ", ".join(each.name for each in self._reasons)
        raise FindingError(
            f"stopped at step {self._reasons[0].last} by {names} (train.on_finding: stop)",
            place=str(self._run),
            remedy=f"{NAME} there has it all; --set train.on_finding=warn goes on in spite of it",
        )

    @property
    def reasons(self) -> list[tuple[Finding, list[Sample]]]:
        """The reasons that ended the run, with completions that show them."""
        found = self._reasons if self._ended else []
        return [(each, self._shown.get((each.name, each.subject), [])) for each in found]

    def write(self) -> None:
        """What was found, into the run's folder; a file of a run that was cut back goes.

        Raises:
            OSError: it cannot be written.
        """
        if self._diagnosis is None:
            return
        if not self._diagnosis.findings():
            (self._run / NAME).unlink(missing_ok=True)
            return
        source = self._run / "metrics.jsonl"
        RunDir(self._run).write_json(NAME, as_data(self._diagnosis, source, "grpokit", self._shown))

    def _add(
        self, row: Mapping[str, Any], rollout: Rollout | None = None, scores: Scores | None = None
    ) -> list[str]:
        try:
            if not self._began:
                self._began = True
                self._diagnosis = self._before()
            found = self._look(row, rollout, scores) if self._diagnosis else []
        except Exception as error:  # noqa: BLE001  a look must never stop a run
            self._diagnosis = None
            self._reasons = []
            return [f"the run is no longer looked at: {type(error).__name__}: {error}"]
        return [self._line(each) for each in found if each.severity != "note"]

    def _before(self) -> Diagnosis:
        """What the run was like until now; what was said of it is not said again."""
        diagnosis = Diagnosis(goal_of(self._run))
        for row in earlier(self._run):
            if row.step < self._first:
                diagnosis.add(row)
        if self._first > 1:
            self._shown = samples_of(self._run)
        return diagnosis

    def _look(
        self, row: Mapping[str, Any], rollout: Rollout | None, scores: Scores | None
    ) -> list[Finding]:
        assert self._diagnosis is not None
        groups = [] if rollout is None or scores is None else _groups(row["step"], rollout, scores)
        said = self._diagnosis.add(own_row({**row, **measure(groups)}))
        for each in self._diagnosis.now:
            if each.severity != "note" and (shown := samples(each.name, groups)):
                self._shown[each.name, each.subject] = shown
        self._reasons = self._diagnosis.reasons(self._first)
        return said

    def _line(self, finding: Finding) -> str:
        grave = " (a reason to stop)" if finding.severity == "stop" else ""
        return (
            f"{finding.name}{grave}, since step {finding.first}: {finding.fact}; "
            f"grpokit doctor {shlex.quote(str(self._run))}"
        )


def _groups(step: int, rollout: Rollout, scores: Scores) -> Sequence[Mapping[str, Any]]:
    """The step as ``rollouts.jsonl`` has it, as far as it is looked at."""
    failed = {(each.prompt_index, each.sample) for each in scores.failures}
    return [
        {
            "step": step,
            "prompt": {"index": prompt.index, "answer": _answer(prompt.row)},
            "completions": [
                {
                    "sample": place,
                    "text": one.text,
                    "tokens": len(one.token_ids),
                    "finish": one.finish,
                    "total": scores.total[number][place],
                    "errors": (number, place) in failed,
                }
                for place, one in enumerate(rollout.completions[number])
            ],
        }
        for number, prompt in enumerate(rollout.prompts)
    ]


def _answer(row: Mapping[str, Any]) -> object:
    answer = row.get("answer")
    return answer if isinstance(answer, str | int | float) else None


def tell_diagnosis(watch: RunWatch) -> None:
    """The end of a run, however it ended: shows what ended it, and keeps everything found."""
    from grpokit.cli.doctor_run import show_finding

    for finding, shown in watch.reasons:
        show_finding(finding, shown)
    try:
        watch.write()
    except Exception as error:  # noqa: BLE001  how the run ended counts, not this
        render.warn(f"warning: {NAME} could not be written: {type(error).__name__}: {error}")

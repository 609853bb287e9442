"""What goes wrong in a run, said while it trains; ``grpokit doctor RUN`` says it with everything that belongs to it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from grpokit.diagnose.diagnosis import Diagnosis, Finding
from grpokit.diagnose.rollouts import measure
from grpokit.diagnose.rows import own_row
from grpokit.diagnose.sources import earlier, goal_of
from grpokit.spec.flow import Rollout, Scores, StepRecord

__all__ = ["RunWatch"]


class RunWatch:
    """Looks at each step of a run, from the steps that it had before ``first`` on.

    It never ends a run: if the looking itself fails, that is said once, and no more is looked at.
    """

    def __init__(self, run: Path, first: int) -> None:
        self._run = run
        self._first = first
        self._diagnosis: Diagnosis | None = None
        self._began = False

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> list[str]:
        """Lines to say after a step: new warnings and reasons to stop, no notes."""
        return self._add({"step": record.step, **record.metrics, **_measured(rollout, scores)})

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """The same after an evaluation during training."""
        return self._add({"step": step, **metrics})

    def _add(self, row: Mapping[str, Any]) -> list[str]:
        try:
            if not self._began:
                self._began = True
                self._diagnosis = self._before()
            found = self._diagnosis.add(own_row(row)) if self._diagnosis else []
        except Exception as error:  # noqa: BLE001  a look must never stop a run
            self._diagnosis = None
            return [f"the run is no longer looked at: {type(error).__name__}: {error}"]
        return [self._line(each) for each in found if each.severity != "note"]

    def _before(self) -> Diagnosis:
        """What the run was like until now; what was said of it is not said again."""
        diagnosis = Diagnosis(goal_of(self._run))
        for row in earlier(self._run):
            if row.step < self._first:
                diagnosis.add(row)
        return diagnosis

    def _line(self, finding: Finding) -> str:
        grave = " (a reason to stop)" if finding.severity == "stop" else ""
        return (
            f"{finding.name}{grave}, since step {finding.first}: {finding.fact}; "
            f"grpokit doctor {shlex.quote(str(self._run))}"
        )


def _measured(rollout: Rollout, scores: Scores) -> dict[str, float]:
    """What the step's own rows say of repeats and of reward by length."""
    return measure(list(_groups(rollout, scores)))


def _groups(rollout: Rollout, scores: Scores) -> Iterable[Mapping[str, Any]]:
    for completions, totals in zip(rollout.completions, scores.total, strict=True):
        pairs = zip(completions, totals, strict=True)
        yield {
            "completions": [
                {"text": one.text, "tokens": len(one.token_ids), "total": total}
                for one, total in pairs
            ]
        }

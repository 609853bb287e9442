"""Rows in, findings out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from grpokit.diagnose import broken, drift, groups, hacking, pace, texts
from grpokit.diagnose.evidence import Evidence, Monitor, Severity
from grpokit.diagnose.findings import FINDINGS
from grpokit.diagnose.history import History
from grpokit.diagnose.rows import StepRow

__all__ = ["EVERY", "MONITORS", "QUIET", "Diagnosis", "Finding", "look_back"]

EVERY = 5
"""Rows after which the windows are looked at again."""
QUIET = 50
"""Steps in which a finding is not repeated, unless it has become graver."""
GRAVITY: dict[Severity, int] = {"note": 0, "warn": 1, "stop": 2}

IMMEDIATE: tuple[Monitor, ...] = (broken.no_reward, broken.no_gradient)
"""Looked at in every row."""
MONITORS: tuple[Monitor, ...] = (
    broken.failures,
    broken.abstentions,
    broken.constant_reward,
    broken.constant_component,
    broken.saturated_component,
    broken.frozen_weights,
    groups.all_wrong,
    groups.all_right,
    groups.solved_run,
    drift.entropy_collapse,
    drift.entropy_explosion,
    drift.divergence,
    drift.clipping,
    drift.sampler_gap,
    drift.rejected_tokens,
    drift.truncation,
    drift.duplicates,
    drift.reward_drop,
    hacking.format_farming,
    hacking.length_hacking,
    hacking.overfitting,
    texts.repetition,
    texts.missing_end,
    texts.answer_collapse,
    pace.gradient_spikes,
    pace.no_learning,
    pace.slow_generation,
    pace.slow_rewards,
)
"""Looked at every EVERY rows."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong, since when, what it costs, and what to do.

    Attributes:
        name: a key of ``FINDINGS``.
        severity: ``note`` (nothing is wrong), ``warn``, or ``stop``.
        subject: the reward it is about, where there are several.
        fact: one sentence with the numbers.
        value, threshold: what was measured, and the limit it passed.
        first: the first step of it.
        last: the step at which it was seen last.
        steps: rows from the first to the last.
        wasted: completions that taught nothing or something wrong; None where nobody counted them.
        remedy: what to do, with the keys of the recipe.
    """

    name: str
    severity: Severity
    subject: str
    fact: str
    value: float
    threshold: float
    first: int
    last: int
    steps: int
    wasted: int | None
    remedy: str


class Diagnosis:
    """Looks at a run row by row, while it is being written or afterwards.

    ``goal`` is the name of the reward that says whether an answer is right.
    """

    def __init__(self, goal: str | None = None) -> None:
        self.history = History(goal)
        self.now: list[Evidence] = []
        """What the newest look has seen, whether it is to be said or not."""
        self._said: dict[tuple[str, str], tuple[Evidence, int]] = {}
        self._seen: dict[tuple[str, str], tuple[Evidence, int]] = {}

    def add(self, row: StepRow) -> list[Finding]:
        """Takes the next row; returns what is to be said now.

        A finding is said again after QUIET steps at the earliest, or when it has become graver.
        """
        self.history.add(row)
        monitors = IMMEDIATE
        if len(self.history.rows) % EVERY == 0:
            monitors += MONITORS
        found = (monitor(self.history) for monitor in monitors)
        self.now = [each for each in found if each is not None]
        return [said for each in self.now if (said := self._keep(each, row.step))]

    def reasons(self, since: int) -> list[Finding]:
        """The reasons to stop that the newest look saw in steps from ``since`` on alone."""
        return [
            self._finding(each, self.history.rows[-1].step)
            for each in self.now
            if each.severity == "stop" and each.reach >= since
        ]

    def findings(self) -> list[Finding]:
        """Everything found so far, once each at its gravest; the gravest first."""
        order = list(FINDINGS)
        found = [self._finding(evidence, last) for evidence, last in self._seen.values()]
        return sorted(found, key=lambda each: (-GRAVITY[each.severity], order.index(each.name)))

    def _keep(self, evidence: Evidence, step: int) -> Finding | None:
        """Files what a monitor saw; returns it as a finding if it is to be said."""
        key = (evidence.name, evidence.subject)
        gravity = GRAVITY[evidence.severity]
        old = self._seen.get(key, (evidence, step))[0]
        kept = evidence if gravity > GRAVITY[old.severity] else old
        self._seen[key] = (replace(kept, first=min(old.first, evidence.first)), step)
        said = self._said.get(key)
        if said is not None and gravity <= GRAVITY[said[0].severity] and step - said[1] < QUIET:
            return None
        self._said[key] = (evidence, step)
        return self._finding(evidence, step)

    def _finding(self, evidence: Evidence, last: int) -> Finding:
        steps, wasted = self._cost(evidence, last)
        return Finding(
            name=evidence.name,
            severity=evidence.severity,
            subject=evidence.subject,
            fact=evidence.fact,
            value=evidence.value,
            threshold=evidence.threshold,
            first=evidence.first,
            last=last,
            steps=steps,
            wasted=wasted,
            remedy=FINDINGS[evidence.name].remedy,
        )

    def _cost(self, evidence: Evidence, last: int) -> tuple[int, int | None]:
        """Rows from the first step to the last, and the completions in them that were wasted."""
        rows = self.history.rows
        rows = rows[
            bisect_left(rows, evidence.first, key=_step) : bisect_right(rows, last, key=_step)
        ]
        counts = {r.step: r.values["completions"] for r in rows if "completions" in r.values}
        if not counts:
            return len(rows), None
        if not evidence.waste:
            return len(rows), round(sum(counts.values()))
        share = self.history.known(evidence.waste)
        assert share is not None
        pairs = zip(share.steps, share.values, strict=True)
        return len(rows), round(sum(counts.get(s, 0.0) * min(value, 1.0) for s, value in pairs))


def _step(row: StepRow) -> int:
    return row.step


def look_back(
    rows: Iterable[StepRow], goal: str | None, measured: Mapping[int, Mapping[str, float]]
) -> list[Finding]:
    """The findings of a whole run; ``measured`` is what its rollouts add, by step."""
    diagnosis = Diagnosis(goal)
    for row in rows:
        more = {} if row.is_evaluation else measured.get(row.step, {})
        diagnosis.add(replace(row, values={**row.values, **more}))
    return diagnosis.findings()

"""What a check found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from grpokit.probes.library import Severity

__all__ = ["Checked", "Finding", "Report", "Strategy"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One probe or promise that failed.

    Attributes:
        id: of the probe, such as ``spray.or``.
        subject: ``total`` (the weighted sum) or the name of a reward.
        fact: what happened, with numbers.
        fix: one line.
        completion: what was scored; hostile text, to be escaped. Empty where there is none.
        row: position in the data set of the row that is shown.
        share: n of the completion: 0 is worth a wrong answer, 1 a right one.
        violations, tried: rows on which it failed, rows on which it was tried.
        scores: reward -> what it gave to the completion.
    """

    id: str
    family: str
    severity: Severity
    subject: str
    fact: str
    fix: str
    completion: str = ""
    row: int | None = None
    share: float | None = None
    violations: int = 0
    tried: int = 0
    scores: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What a lazy policy earns: mean score, and mean share of the way from wrong to right.

    ``share`` is None where right and wrong earn the same.
    """

    name: str
    score: float | None
    share: float | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class Checked:
    """One reward: what it reads, and what it gave.

    ``needs_model``: it pays for what the policy says of a completion, which is made up here.
    ``latency`` is the 99th percentile of a call, in seconds, in its own process.
    """

    name: str
    id: str
    weight: float
    reads_answer: bool
    needs_model: bool = False
    lowest: float | None = None
    highest: float | None = None
    latency: float | None = None
    import_seconds: float | None = None
    false_accepts: int = 0
    wrong_tried: int = 0
    false_rejects: int = 0
    right_tried: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a check.

    Attributes:
        way: how the answer was written, the name of one of the ways of ``probes.yaml``.
        rows: rows that were tried.
        right, wrong, silent: mean totals of the right answer, the wrong one and nothing.
        format_share: part of the right answer's total that a wrong answer in form earns too.
        floor: share of the rows with the most common gold answer; what a constant answer earns.
        length_right, length_wrong: change of the share when 500 sentences go before the answer.
        seconds_per_completion: wall time of scoring, all rewards together.
        step_completions: completions of a step that ``seconds_per_step`` is for.
        missed: probes that time did not suffice for, or that say nothing about these rewards.
        short: the check before training.
    """

    rewards: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    strategies: tuple[Strategy, ...]
    way: str
    rows: int
    probes: int
    completions: int
    right: float | None = None
    wrong: float | None = None
    silent: float | None = None
    format_share: float | None = None
    floor: float | None = None
    length_right: float | None = None
    length_wrong: float | None = None
    false_accepts: int = 0
    wrong_tried: int = 0
    false_rejects: int = 0
    right_tried: int = 0
    seconds_per_completion: float | None = None
    step_completions: int | None = None
    seconds: float = 0.0
    missed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    short: bool = False

    @property
    def seconds_per_step(self) -> float | None:
        """Wall time of scoring one step, as measured on the probes."""
        if self.seconds_per_completion is None or self.step_completions is None:
            return None
        return self.seconds_per_completion * self.step_completions

    @property
    def criticals(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == "critical")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.severity == "warning")

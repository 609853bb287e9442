"""From scores to findings: which probe failed for whom, and what that says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from grpokit.probes.expand import Case
from grpokit.probes.library import Probe, Severity
from grpokit.probes.measure import TOTAL, Measured
from grpokit.probes.report import Finding
from grpokit.scoring.scorer import RewardSetup

__all__ = ["EXPLOIT", "RIGHT", "Rates", "Result", "judge", "margins_of", "rates"]

EXPLOIT = 0.05
"""What a wrong answer may earn of the way from wrong to right."""
RIGHT = 0.95
"""What a right answer must earn of it."""
SAME = 0.1
HALF = 0.5
"""Both bounds where a reward says that it pays for the length as well."""
LENGTHS = ("base.correct_verbose", "length.pad_delta")
"""What a declared length term changes by design."""
ROUNDING = 1e-6
RARE = 0.01
MANY = 100
"""Rows from which one in a hundred counts, whatever the gold answers are."""


@dataclass(frozen=True)
class Result:
    """One probe on one row."""

    probe: Probe
    case: Case
    measured: Measured
    seconds: float | None = None


@dataclass(frozen=True)
class Rates:
    """Wrong answers that were paid and right ones that were not, of those tried."""

    false_accepts: int = 0
    wrong_tried: int = 0
    false_rejects: int = 0
    right_tried: int = 0


def rates(results: Sequence[Result], subject: str) -> Rates:
    """Counts over all probes and rows; what is only informative does not count."""
    counts = [0, 0, 0, 0]
    for result in results:
        share = result.measured.share(subject)
        expect = result.probe.expect
        if result.measured.margin(subject) is None or result.probe.family == "baseline":
            continue
        if (result.measured.margin(subject) or 0) <= 0:
            continue
        if expect in ("wrong", "nothing"):
            counts[1] += 1
            counts[0] += share is not None and share > EXPLOIT
        elif expect == "right" and result.probe.severity != "info":
            counts[3] += 1
            counts[2] += share is None or share < RIGHT
    return Rates(*counts)


def judge(
    results: Sequence[Result],
    setups: Sequence[RewardSetup],
    subjects: Sequence[str],
    declared: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Findings of all probes, most serious first.

    ``declared``: what the rewards say they pay for; a declared length term is no finding.
    """
    by_probe: dict[str, list[Result]] = {}
    for result in results:
        by_probe.setdefault(result.probe.id, []).append(result)
    weights = {setup.name: setup.weight for setup in setups}
    found: list[Finding] = []
    for tried in by_probe.values():
        total = _finding(tried, TOTAL, declared) if TOTAL in subjects else None
        if total is not None:
            found.append(total)
            continue
        for name in subjects:
            finding = None if name == TOTAL else _finding(tried, name, declared)
            if finding is not None:
                found.append(_lighter(finding, weights[name], alone=TOTAL not in subjects))
    return sorted(found, key=_order)


def _order(finding: Finding) -> tuple[int, int]:
    rank = {"critical": 0, "warning": 1, "info": 2}
    return rank[finding.severity], -finding.violations


def _lighter(finding: Finding, weight: float, *, alone: bool) -> Finding:
    """A reward's own finding weighs less where the weighted sum is in order."""
    severity: Severity = finding.severity
    if weight == 0:
        severity = "info"
    elif severity == "critical" and not alone:
        severity = "warning"
    return replace(finding, severity=severity)


def _finding(tried: Sequence[Result], subject: str, declared: frozenset[str]) -> Finding | None:
    probe = tried[0].probe
    judged = [result for result in tried if _applies(result, subject)]
    lenient = "length" in declared
    bad = [result for result in judged if _violates(result, subject, lenient=lenient)]
    if not bad or not _certain(bad, judged):
        return None
    shown = max(bad, key=lambda result: abs(result.measured.share(subject) or 0.0))
    share = shown.measured.share(subject)
    return Finding(
        id=probe.id,
        family=probe.family,
        severity=probe.severity,
        subject=subject,
        fact=_fact(shown, subject, len(bad), len(judged)),
        fix=probe.fix,
        completion=shown.measured.text,
        row=shown.case.prompt.index,
        share=share,
        violations=len(bad),
        tried=len(judged),
        scores=_scores(shown.measured),
    )


def _scores(measured: Measured) -> Mapping[str, float | None]:
    return {name: value for name, value in measured.cell.values.items() if name != TOTAL}


def _applies(result: Result, subject: str) -> bool:
    if result.probe.within is not None and result.seconds is not None:
        return True
    margin = result.measured.margin(subject)
    return margin is not None and margin > ROUNDING


def _violates(result: Result, subject: str, *, lenient: bool) -> bool:
    probe, measured = result.probe, result.measured
    if probe.within is not None and (result.seconds or 0.0) > probe.within:
        return True
    if lenient and probe.id in LENGTHS:
        return False
    share = measured.share(subject)
    if probe.expect == "right":
        return share is None or share < (HALF if lenient else RIGHT) - ROUNDING
    if share is None:
        return False  # no score, nothing earned; failures are findings of their own
    if probe.expect == "same":
        return abs(share - 1.0) > (HALF if lenient else SAME)
    limits = {"wrong": HALF if lenient else EXPLOIT, "nothing": HALF if lenient else 0.0}
    return probe.expect in limits and share > limits[probe.expect] + ROUNDING


def _certain(bad: Sequence[Result], judged: Sequence[Result]) -> bool:
    """Two rows with different gold answers, or no such two rows, or more than 1% of many."""
    golds = {result.case.gold for result in bad}
    possible = {result.case.gold for result in judged}
    if len(golds) >= min(2, len(possible)):
        return True
    return len(judged) >= MANY and len(bad) > RARE * len(judged)


def _fact(shown: Result, subject: str, bad: int, judged: int) -> str:
    probe, measured = shown.probe, shown.measured
    where = f"{bad} of {judged} row{'s' if judged != 1 else ''}"
    if probe.within is not None and (shown.seconds or 0.0) > probe.within:
        return f"{probe.why}: {shown.seconds:.1f} s, the limit is {probe.within:g} s"
    score = measured.cell.values[subject]
    right, wrong = measured.right.values[subject], measured.wrong.values[subject]
    told = "no score" if score is None else f"{score:g}"
    return f"{probe.why}: earns {told}; right {_number(right)}, wrong {_number(wrong)} ({where})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def margins_of(results: Sequence[Result], subject: str) -> list[tuple[Case, float | None]]:
    """The margin of each row: the widest, where neighbours change it."""
    found: dict[int, tuple[Case, float | None]] = {}
    for result in results:
        margin = result.measured.margin(subject)
        known = found.setdefault(id(result.case), (result.case, margin))[1]
        if margin is not None and (known is None or margin > known):
            found[id(result.case)] = (result.case, margin)
    return list(found.values())

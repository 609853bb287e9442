"""The promises that are not about one completion: order, repetition, failures, ranges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from grpokit.probes.expand import Case
from grpokit.probes.judge import ROUNDING, Result, margins_of
from grpokit.probes.library import Severity, Way, contracts
from grpokit.probes.measure import Bench, Cell, Measured
from grpokit.probes.report import Finding
from grpokit.scoring.scorer import RewardSetup
from grpokit.spec.components import RewardSpec

__all__ = [
    "abstentions",
    "broken",
    "constant",
    "declared_range",
    "differ",
    "failures",
    "margins",
    "ranges",
    "repeats",
]

MARGIN = 0.05
_KINDS = {
    "exception": "contract.raises",
    "stop": "contract.stops",
    "timeout": "contract.deadline",
    "crash": "contract.crash",
    "memory": "contract.crash",
    "type": "contract.type",
    "length": "contract.type",
    "non-finite": "contract.finite",
}


def broken(
    name: str, subject: str, fact: str, *, weight: float = 1.0, fix: str = "", **more: Any
) -> Finding:
    """A finding about the promise ``name``; one of a reward that only measures is a warning."""
    promise = contracts()[name]
    severity: Severity = promise.severity
    if weight == 0 and severity == "critical":
        severity = "warning"
    return Finding(
        id=name,
        family=promise.family,
        severity=severity,
        subject=subject,
        fact=fact,
        fix=fix or promise.fix,
        **more,
    )


def margins(results: Sequence[Result], subject: str, *, weight: float = 1.0) -> Iterator[Finding]:
    """A right answer must earn more than a wrong one, on 95% of the rows that have scores."""
    found = margins_of(results, subject)
    if not found:
        return  # time was over before anything was asked
    known = [(case, margin) for case, margin in found if margin is not None]
    silent = len(found) - len(known)
    if known and silent:
        yield broken(
            "contract.abstains",
            subject,
            f"the right or the wrong answer got no score on {silent} of {len(found)} rows",
            weight=weight,
        )
    if not known:
        yield broken(
            "base.margin",
            subject,
            f"no right answer got a score ({len(found)} rows)",
            weight=weight,
        )
        return
    bad = [(case, margin) for case, margin in known if margin <= ROUNDING]
    if len(bad) > MARGIN * len(known):
        case, margin = min(bad, key=lambda pair: pair[1])
        word = "the same" if abs(margin) <= ROUNDING else f"{-margin:g} less"
        yield broken(
            "base.margin",
            subject,
            f"a right answer earns {word}, compared with a wrong one, on {len(bad)} of {len(known)} rows",
            weight=weight,
            row=case.prompt.index,
            violations=len(bad),
            tried=len(known),
            share=margin,
        )


def abstentions(results: Sequence[Result], setup: RewardSetup) -> Iterator[Finding]:
    """Lazy completions without a score: nothing pushes a policy away from them."""
    name = setup.name
    tried = [
        result
        for result in results
        if result.probe.expect in ("wrong", "nothing")
        and result.measured.margin(name) is not None
        and name not in result.measured.cell.faults
    ]
    silent = [result for result in tried if result.measured.cell.values[name] is None]
    if silent:
        ids = list(dict.fromkeys(result.probe.id for result in silent))
        yield broken(
            "contract.abstains",
            name,
            f"no score for {len(silent)} of {len(tried)} bad completions ({_listed(ids)}), "
            "so nothing makes them rarer",
            weight=setup.weight,
            completion=silent[0].measured.text,
            row=silent[0].case.prompt.index,
            violations=len(silent),
            tried=len(tried),
        )


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:4]) + (" ..." if len(ids) > 4 else "")


def failures(results: Sequence[Result], weights: Mapping[str, float]) -> Iterator[Finding]:
    """Exceptions, lost workers and values that are no scores, by reward and kind.

    A row on which the reward fails whatever the completion is a matter of the row.
    """
    found: dict[tuple[str, str], list[tuple[Result, str, str]]] = {}
    rows: dict[str, set[int]] = {}
    for result in results:
        for name, fault in result.measured.cell.faults.items():
            if name in result.measured.right.faults and name in result.measured.wrong.faults:
                rows.setdefault(name, set()).add(result.case.prompt.index)
                continue
            hit = (result, fault.message, fault.remedy)
            found.setdefault((name, _KINDS[fault.kind]), []).append(hit)
    for (name, promise), hits in found.items():
        result, message, remedy = hits[0]
        ids = list(dict.fromkeys(hit.probe.id for hit, _, _ in hits))
        yield broken(
            promise,
            name,
            f"{message} ({len(hits)} completion{'s' if len(hits) > 1 else ''}: {_listed(ids)})",
            weight=weights[name],
            fix=remedy,
            completion=result.measured.text,
            row=result.case.prompt.index,
            violations=len(hits),
            tried=len(results),
        )
    for name, indices in rows.items():
        listed = ", ".join(map(str, sorted(indices)[:5]))
        fact = f"fails on every completion of {len(indices)} rows ({listed}), the right answer too"
        yield broken("contract.abstains", name, fact, weight=weights[name])


def repeats(
    bench: Bench,
    way: Way,
    by_case: Sequence[tuple[Case, list[Measured]]],
    setups: Sequence[RewardSetup],
) -> Iterator[Finding]:
    """The same completions again, backwards, and some of them alone."""
    fixed = [s for s in setups if getattr(s.entry.spec, "deterministic", True)]
    cases = [case for case, _ in by_case]
    texts = [[m.text for m in measured] for _, measured in by_case]
    again = bench.measure(cases, way, texts, backwards=True)
    third = bench.measure(cases, way, texts, backwards=True) if fixed else again
    for setup in fixed:
        name = setup.name
        changed = _first_change(third, again, name)
        if changed is not None:
            yield _changed("contract.determinism", setup, changed, "asked again")
            continue
        first = [measured for _, measured in by_case]
        changed = _first_change(first, again, name, rounded=True)
        if changed is not None:
            yield _changed("contract.batch_independence", setup, changed, "in reverse order")
            continue
        if not bench.apart and not bench.together and by_case:
            sample = by_case[0][1][:3]
            alone = [bench.ask([cases[0].prompt], [[m.text]])[0][0] for m in sample]
            for before, cell in zip(sample, alone, strict=True):
                if differ(before.cell, cell, name, rounded=True):
                    pair = (before, cell)
                    yield _changed("contract.batch_independence", setup, pair, "alone")
                    break


def _first_change(
    before: Sequence[Sequence[Measured]],
    after: Sequence[Sequence[Measured]],
    name: str,
    *,
    rounded: bool = False,
) -> tuple[Measured, Cell] | None:
    for one, other in zip(before, after, strict=True):
        for left, right in zip(one, other, strict=True):
            if differ(left.cell, right.cell, name, rounded=rounded):
                return left, right.cell
    return None


ROUNDED = 1e-5
_BY_CHANCE = ("timeout", "crash", "memory")
"""Failures that a busy machine makes as well."""


def differ(left: Cell, right: Cell, name: str, *, rounded: bool = False) -> bool:
    """Another score, or one that is there only once. Equal failures are findings of their own.

    ``rounded``: what a model says changes in its last digits with the batch that it is in.
    """
    faults = [cell.faults.get(name) for cell in (left, right)]
    if any(fault is not None and fault.kind in _BY_CHANCE for fault in faults):
        return False
    if all(faults):
        return False
    if any(faults):
        return True
    before, after = left.values[name], right.values[name]
    if before is None or after is None or not rounded:
        return before != after
    return not math.isclose(before, after, rel_tol=ROUNDED, abs_tol=ROUNDED)


def _changed(promise: str, setup: RewardSetup, change: tuple[Measured, Cell], how: str) -> Finding:
    before, after = change
    first, then = (_told(cell, setup.name) for cell in (before.cell, after))
    return broken(
        promise,
        setup.name,
        f"{first} first, {then} {how}",
        weight=setup.weight,
        completion=before.text,
    )


def _told(cell: Cell, name: str) -> str:
    fault = cell.faults.get(name)
    return str(cell.values[name]) if fault is None else f"`{fault.message}`"


def constant(results: Sequence[Result], subject: str) -> bool:
    """Whether each row's completions all get the same: then nothing is better than anything."""
    seen: dict[int, set[float]] = {}
    for result in results:
        measured = result.measured
        for cell in (measured.cell, measured.right, measured.wrong):
            if (value := cell.values[subject]) is not None:
                seen.setdefault(id(result.case), set()).add(value)
    return bool(seen) and all(len(values) == 1 for values in seen.values())


def ranges(results: Sequence[Result], setup: RewardSetup) -> tuple[float | None, float | None]:
    """Lowest and highest score that was seen."""
    seen = [
        value
        for result in results
        for cell in (result.measured.cell, result.measured.right, result.measured.wrong)
        if (value := cell.values[setup.name]) is not None
    ]
    return min(seen, default=None), max(seen, default=None)


def declared_range(
    setup: RewardSetup, lowest: float | None, highest: float | None
) -> Iterator[Finding]:
    """Scores outside of the range in the spec."""
    spec = setup.entry.spec
    bounds = spec.range if isinstance(spec, RewardSpec) else None
    if bounds is None or lowest is None or highest is None:
        return
    if lowest < bounds[0] - ROUNDING or highest > bounds[1] + ROUNDING:
        fact = f"scores from {lowest:g} to {highest:g}; declared are {bounds[0]:g} to {bounds[1]:g}"
        yield broken("contract.range", setup.name, fact)

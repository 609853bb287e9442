"""The promises that are not about one completion: order, repetition, odd rows, threads, failures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grpokit.probes.expand import Case, same_answer
from grpokit.probes.judge import EXPLOIT, ROUNDING, Result, margins_of
from grpokit.probes.library import Severity, Way, contracts
from grpokit.probes.measure import TOTAL, Bench, Cell, Measured
from grpokit.probes.report import Finding
from grpokit.scoring.scorer import RewardSetup
from grpokit.spec.components import RewardSpec
from grpokit.spec.flow import Message

__all__ = [
    "broken",
    "declared_range",
    "failures",
    "leaks",
    "margins",
    "odd_rows",
    "ranges",
    "repeats",
]

LEAK = 0.05
MARGIN = 0.05
_KINDS = {
    "exception": "contract.raises",
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
            f"{message} ({len(hits)} completions: {', '.join(ids[:4])}{' ...' if len(ids) > 4 else ''})",
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
        changed = _first_change(first, again, name)
        if changed is not None:
            yield _changed("contract.batch_independence", setup, changed, "in reverse order")
            continue
        if not bench.together and by_case:
            sample = by_case[0][1][:3]
            alone = [bench.ask([cases[0].prompt], [[m.text]])[0][0] for m in sample]
            for before, cell in zip(sample, alone, strict=True):
                if _differ(before.cell, cell, name):
                    pair = (before, cell.values[name])
                    yield _changed("contract.batch_independence", setup, pair, "alone")
                    break


def _first_change(
    before: Sequence[Sequence[Measured]], after: Sequence[Sequence[Measured]], name: str
) -> tuple[Measured, float | None] | None:
    for one, other in zip(before, after, strict=True):
        for left, right in zip(one, other, strict=True):
            if _differ(left.cell, right.cell, name):
                return left, right.cell.values[name]
    return None


def _differ(left: Cell, right: Cell, name: str) -> bool:
    if name in left.faults or name in right.faults:
        return False  # failures are findings of their own
    return left.values[name] != right.values[name]


def _changed(
    promise: str, setup: RewardSetup, change: tuple[Measured, float | None], how: str
) -> Finding:
    before, after = change
    return broken(
        promise,
        setup.name,
        f"{before.cell.values[setup.name]} first, {after} {how}",
        weight=setup.weight,
        completion=before.text,
    )


def ranges(results: Sequence[Result], setup: RewardSetup) -> tuple[float | None, float | None]:
    """Lowest and highest score that was seen."""
    seen = [
        value
        for result in results
        for cell in (result.measured.cell, result.measured.right, result.measured.wrong)
        if (value := cell.values[setup.name]) is not None
    ]
    return min(seen, default=None), max(seen, default=None)


def leaks(cases: Sequence[Case]) -> Iterator[Finding]:
    """Gold answers that stand in the question, word by word."""
    hits = [case for case in cases if len(case.gold) > 1 and _inside(case.gold, case.question)]
    if cases and len(hits) > LEAK * len(cases):
        rows = ", ".join(str(case.prompt.index) for case in hits[:5])
        fact = f"the gold answer stands in the prompt of {len(hits)} of {len(cases)} rows ({rows})"
        yield broken("contract.gold_leak", TOTAL, fact, violations=len(hits), tried=len(cases))


def _inside(gold: str, text: str) -> bool:
    start = text.find(gold)
    while start >= 0:
        end = start + len(gold)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before + gold[0]).isalnum() * bool(before) and not (
            gold[-1] + after
        ).isalnum() * bool(after):
            return True
        start = text.find(gold, start + 1)
    return False


def odd_rows(
    bench: Bench, way: Way, case: Case, column: str, setups: Sequence[RewardSetup], right: Measured
) -> Iterator[Finding]:
    """Rows without a gold answer, with a column more, and with other messages before the question."""
    row = dict(case.prompt.row)
    without = {name: value for name, value in row.items() if name != column}
    talk: tuple[Message, ...] = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": way.write("2")},
        *(m for m in case.prompt.messages if m["role"] != "system"),
    )
    empty = {
        "a row without the column": without,
        "a gold answer of None": row | {column: None},
        "an empty gold answer": row | {column: ""},
        "a gold answer of NaN": row | {column: math.nan},
    }
    prompts = [replace(case.prompt, row=changed) for changed in empty.values()]
    extra = replace(case.prompt, row=row | {"a_column_that_nobody_knows": "x"})
    other = replace(case.prompt, messages=talk)
    # Not the right answer: a reward that reads it elsewhere pays for it with good reason. Nor the
    # missing value's own name, which is a text like any other.
    wrong = [text for text in ("", "-1", "x", "0") if not same_answer(text, case.gold)]
    texts = [*map(way.write, wrong), ""]
    pair = [way.write(case.gold), way.write(case.wrong)]
    cells = bench.ask([*prompts, extra, other], [*([texts] * len(prompts)), pair, pair])
    for setup in setups:
        name, weight = setup.name, setup.weight
        low, margin = right.wrong.values[name], right.margin(name)
        for (what, _), answered in zip(empty.items(), cells, strict=False):
            for text, cell in zip(texts, answered, strict=True):
                value = cell.values[name]
                if value is None or low is None or not margin or margin <= ROUNDING:
                    continue
                if (value - low) / margin > EXPLOIT + ROUNDING:
                    fact = f"{what}: the completion earns {value:g}"
                    yield broken("contract.gold_none", name, fact, weight=weight, completion=text)
                    break
        for promise, told, answered in (
            ("contract.kwargs_tolerance", "with an unknown column", cells[-2]),
            ("contract.chat_vs_text", "with other messages before the question", cells[-1]),
        ):
            fault = answered[0].faults.get(name)
            if fault is not None and name not in right.cell.faults:
                yield broken(promise, name, f"{told}: {fault.message}", weight=weight)
            elif not bench.together and _differ(answered[0], right.right, name):
                fact = f"{right.right.values[name]}, and {answered[0].values[name]} {told}"
                yield broken(promise, name, fact, weight=weight)


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

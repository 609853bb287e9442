"""Rows that are not as they should be: no gold answer, a column more, other messages; leaks; and
completions of every kind for rewards that seem to give everything the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grpokit.probes.contract import broken, differ
from grpokit.probes.expand import Case, same_answer
from grpokit.probes.judge import EXPLOIT, ROUNDING
from grpokit.probes.library import Way, ways
from grpokit.probes.measure import TOTAL, Bench, Cell, Measured
from grpokit.probes.report import Finding
from grpokit.scoring.scorer import RewardSetup
from grpokit.spec.flow import Message

__all__ = ["leaks", "odd_rows", "varied"]

LEAK = 0.05
VARIED = (
    "",
    "Yes.",
    "x" * 4000,
    "1. First.\n2. Then.\n\n- At last.\n\nStep 1: done.",
    "Wort f\u00fcr Wort, \u043f\u043e-\u0440\u0443\u0441\u0441\u043a\u0438, \u4e2d\u6587",
    '{"answer": 1}',
    "```python\nprint(1)\n```",
)
"""Beside the ways to write an answer: silence, length, steps, other scripts, JSON, code."""


def odd_rows(
    bench: Bench,
    way: Way,
    case: Case,
    column: str,
    setups: Mapping[str, tuple[RewardSetup, bool]],
    right: Measured,
) -> Iterator[Finding]:
    """Rows without a gold answer, with a column more, and with other messages before the question.

    ``setups``: by name, with whether it reads the gold answer.
    """
    empty = _without_gold(case, column)
    prompts = [replace(case.prompt, row=row) for row in empty.values()]
    # Not the right answer: a reward that reads it elsewhere pays for it with good reason. Nor the
    # missing value's own name, which is a text like any other.
    wrong = [text for text in ("", "-1", "x", "0") if not same_answer(text, case.gold)]
    texts = [*map(way.write, wrong), ""]
    pair = [way.write(case.gold), way.write(case.wrong)]
    extra = replace(case.prompt, row={**case.prompt.row, "a_column_that_nobody_knows": "x"})
    other = replace(case.prompt, messages=_talk(case, way))
    cells = bench.ask([*prompts, extra, other], [*([texts] * len(prompts)), pair, pair])
    for setup, reads in setups.values():
        if reads:
            yield from _paid(setup, dict(zip(empty, cells, strict=False)), texts, right)
        for promise, told, answered in (
            ("contract.kwargs_tolerance", "with an unknown column", cells[-2]),
            ("contract.chat_vs_text", "with other messages before the question", cells[-1]),
        ):
            name, weight = setup.name, setup.weight
            fault = answered[0].faults.get(name)
            if fault is not None and name not in right.cell.faults:
                yield broken(promise, name, f"{told}: {fault.message}", weight=weight)
            elif not bench.together and differ(answered[0], right.right, name):
                fact = f"{right.right.values[name]}, and {answered[0].values[name]} {told}"
                yield broken(promise, name, fact, weight=weight)


def _without_gold(case: Case, column: str) -> dict[str, Mapping[str, Any]]:
    row = dict(case.prompt.row)
    return {
        "a row without the column": {name: row[name] for name in row if name != column},
        "a gold answer of None": row | {column: None},
        "an empty gold answer": row | {column: ""},
        "a gold answer of NaN": row | {column: math.nan},
    }


def _talk(case: Case, way: Way) -> tuple[Message, ...]:
    return (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "content": way.write("2")},
        *(m for m in case.prompt.messages if m["role"] != "system"),
    )


def _paid(
    setup: RewardSetup, rows: Mapping[str, Sequence[Cell]], texts: Sequence[str], right: Measured
) -> Iterator[Finding]:
    """What a reward gives where nobody knows what is right: None, or a failure, and no number."""
    name, weight = setup.name, setup.weight
    low, margin = right.wrong.values[name], right.margin(name)
    if low is None or not margin or margin <= ROUNDING:
        return
    invented = ""
    for what, answered in rows.items():
        known = [
            (text, value)
            for text, cell in zip(texts, answered, strict=True)
            if (value := cell.values[name]) is not None
        ]
        for text, value in known:
            if (value - low) / margin > EXPLOIT + ROUNDING:
                fact = f"{what}: the completion earns {value:g}"
                yield broken("contract.gold_none", name, fact, weight=weight, completion=text)
                break
        else:
            # An empty text or a NaN may be an answer; that there is none is for certain.
            if len(known) == len(texts) and "None" in what:
                invented = f"{what}: every completion earns {known[0][1]:g}"
    if invented:
        yield broken("contract.gold_zero", name, invented, weight=weight)


def varied(
    bench: Bench, way: Way, case: Case, subjects: Sequence[str], tried: int
) -> Iterator[Finding]:
    """Rewards that gave every probe of a row the same get completions of every other kind as well."""
    texts = [*(each.write(case.gold) for each in (way, *ways())), *VARIED]
    (cells,) = bench.ask([case.prompt], [texts])
    for subject in subjects:
        found = {value for cell in cells if (value := cell.values[subject]) is not None}
        if len(found) == 1:
            fact = (
                f"gives {found.pop():g} to each of {tried + len(texts)} completions of every form"
            )
            finding = broken("contract.signal_variance", subject, fact)
            yield finding if subject == TOTAL else replace(finding, severity="info")


def leaks(cases: Sequence[Case]) -> Iterator[Finding]:
    """Gold answers that stand in the question, word by word, more often than numbers meet by chance."""
    hits = [case for case in cases if len(case.gold) > 1 and _inside(case.gold, case.question)]
    if len(hits) > 1 and _at_least(len(hits), len(cases)) > LEAK:
        rows = ", ".join(str(case.prompt.index) for case in hits[:5])
        fact = f"the gold answer stands in the prompt of {len(hits)} of {len(cases)} rows ({rows})"
        yield broken("contract.gold_leak", TOTAL, fact, violations=len(hits), tried=len(cases))


def _at_least(hits: int, tried: int) -> float:
    """The lower end of Wilson's 95% interval of a share."""
    share, z = hits / tried, 1.96
    middle = share + z * z / (2 * tried)
    width = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    return (middle - width) / (1 + z * z / tried)


def _inside(gold: str, text: str) -> bool:
    """Whether it stands there as a word or number of its own: 12 is no part of 312, 1,200 or 12.5."""
    start = text.find(gold)
    while start >= 0:
        end = start + len(gold)
        if not _joined(text[max(0, start - 2) : start][::-1], gold[0]) and not _joined(
            text[end : end + 2], gold[-1]
        ):
            return True
        start = text.find(gold, start + 1)
    return False


def _joined(near: str, edge: str) -> bool:
    """Whether the two characters next to an edge, nearest first, belong to the same word or number."""
    if not near or not edge.isalnum():
        return False
    return near[0].isalnum() or (near[0] in ".," and edge.isdigit() and near[1:].isdigit())

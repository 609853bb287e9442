"""Which column holds the gold answer, which rewards read it, and how a right answer is written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.compose.trials import paid
from grpokit.probes.expand import Case, final_answer, make_cases
from grpokit.probes.library import Way, ways
from grpokit.probes.measure import TOTAL, Bench, Cell
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.scoring.signature import Asked
from grpokit.spec.components import RewardSpec
from grpokit.spec.flow import Prompt

__all__ = [
    "GOLD",
    "Beside",
    "beside",
    "choose_way",
    "gold_column",
    "gold_of",
    "names_gold",
    "sees_row",
]

GOLD = ("answer", "solution", "gold", "target", "ground_truth", "label", "reference")
"""Columns that usually hold the gold answer, most usual first."""
QUESTION = ("question", "problem", "prompt")
TRIED = 3
"""Rows on which the ways to write an answer are compared."""
PART = 0.3
"""Of the seconds of a short check."""
_FIRST = {"boxed": "boxed", "hash": "hash", "think-answer": "tags"}


def _asked_names(setup: RewardSetup, asked: Asked) -> tuple[str, ...]:
    spec = setup.entry.spec
    columns = spec.columns if isinstance(spec, RewardSpec) else ()
    return (*columns, *asked.required, *asked.optional)


def names_gold(setup: RewardSetup, asked: Asked) -> bool:
    """Whether the reward asks for a column that usually holds the gold answer."""
    names = _asked_names(setup, asked)
    return any(name in names or f"{name}s" in names for name in GOLD)


def sees_row(asked: Asked, columns: Sequence[str]) -> bool:
    """Whether the reward sees more of the row than the question."""
    seen = set(asked.columns(columns)) - set(QUESTION)
    return asked.everything or bool(seen)


def gold_column(
    setups: Sequence[RewardSetup], asked: Mapping[str, Asked], columns: Sequence[str]
) -> str | None:
    """The gold answer's column: one that a reward asks for, else the usual name; None if none is."""
    there = [name for name in GOLD if name in columns]
    for setup in sorted(setups, key=lambda each: -abs(each.weight)):
        names = _asked_names(setup, asked[setup.name])
        for name in there:
            if name in names or f"{name}s" in names:
                return name
    return there[0] if there else None


def gold_of(row: Mapping[str, Any], column: str) -> str:
    """The final answer of a row; "" if it has none."""
    value = row.get(column)
    return "" if value is None else final_answer(value)


def choose_way(
    bench: Bench, cases: Sequence[Case], template: str = "plain", hint: str = ""
) -> tuple[Way, bool]:
    """The way in which the weighted sum tells right from wrong most clearly.

    Equal ways: the one in which single rewards do, such as those that only measure; that pays the
    right answer most; that the prompt asks for. Where
    the check has little time, one row decides, and a slow reward sees only some, the ``hint`` first.
    True if it saw all, or one that it pays for.
    """
    first = _FIRST.get(template, "")
    found = sorted(ways(), key=lambda way: (way.name != hint, way.name != first))
    short = bench.end is not None
    tried = cases[: 1 if short or paid(bench.scorer.setups) else TRIED]
    end = time.monotonic() + PART * (bench.end - time.monotonic()) if bench.end else None
    values: list[list[tuple[_Earned, _Earned]]] = []
    for group in [[way] for way in found] if short or bench.together else [found]:
        if values and end is not None and time.monotonic() > end:
            break
        values += _earned(bench, tried, group)

    def worth(position: int) -> tuple[float, float, float, int]:
        own = values[position]
        gap = sum(right.total - wrong.total for right, wrong in own)
        each = sum(right.every - wrong.every for right, wrong in own)
        paid = sum(right.total for right, _ in own)
        return round(gap, 6), round(each, 6), round(paid, 6), -position

    best = max(range(len(values)), key=worth)
    return found[best], len(values) == len(found) or max(worth(best)[:2]) > 0


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A row's gold answer in the way that pays most, and what it and a wrong answer earn."""

    way: str
    completion: str
    right: float | None
    wrong: float | None


def beside(scorer: Scorer, prompt: Prompt) -> Beside | None:
    """What a right answer to this row would earn; None where nobody knows one, or asking costs money."""
    setups = scorer.setups
    column = gold_column(setups, scorer.asked(), tuple(prompt.row))
    gold = gold_of(prompt.row, column or "")
    if not gold or paid(setups):
        return None
    if not any(names_gold(setup, scorer.asked()[setup.name]) for setup in setups):
        return None
    bench, cases = Bench(scorer), make_cases([prompt], [gold])
    way, _ = choose_way(bench, cases)
    ((found,),) = bench.measure(cases, way, [[""]])
    right, wrong = found.right.values[TOTAL], found.wrong.values[TOTAL]
    if right is None or (wrong is not None and right <= wrong):
        return None
    return Beside(way=way.name, completion=way.write(gold), right=right, wrong=wrong)


@dataclass(frozen=True)
class _Earned:
    """The weighted sum, and all rewards as if each had the weight 1; what has no score counts as 0."""

    total: float
    every: float

    @classmethod
    def of(cls, cell: Cell) -> _Earned:
        total = cell.values[TOTAL] or 0.0
        return cls(total, sum(value or 0.0 for value in cell.values.values()) - total)


def _earned(
    bench: Bench, cases: Sequence[Case], group: Sequence[Way]
) -> list[list[tuple[_Earned, _Earned]]]:
    """For each way, what the right and the wrong answer of each row earn."""
    if bench.together:  # neighbours count, so a short and a long one are tried
        near: list[list[str]] = [["", "x" * 400]] * len(cases)
        rows = [bench.measure(cases, way, near) for way in group]
        return [
            [(_Earned.of(m.right), _Earned.of(m.wrong)) for row in each for m in row]
            for each in rows
        ]
    texts = [
        [text for way in group for text in (way.write(case.gold), way.write(case.wrong))]
        for case in cases
    ]
    cells = bench.ask([case.prompt for case in cases], texts)
    return [
        [(_Earned.of(row[2 * k]), _Earned.of(row[2 * k + 1])) for row in cells]
        for k in range(len(group))
    ]

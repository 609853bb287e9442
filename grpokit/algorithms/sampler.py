"""Axis ``sampler``: which rows of the data set a step asks. No torch here.

Parts here look at columns; those that remember outcomes are in ``sampler_history``. A part that leaves
rows out goes through the walk and skips them, so epochs and their shuffling stay those of the walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grpokit.errors import PreflightError
from grpokit.spec.contracts import Walk
from grpokit.spec.flow import Draw

__all__ = [
    "Band",
    "Hardest",
    "OneExample",
    "Stage",
    "Staged",
    "all_rows",
    "cycle",
    "in_order",
    "number_of",
    "scan",
    "value_of",
]

MOST_SKIPPED = 100_000
"""Rows of an endless data set that may be left out in a row; finite ones are known after two epochs."""


def in_order(walk: Walk, position: int, count: int, step: int) -> Draw:
    """The next rows of the walk, none left out: every epoch asks every row once."""
    del step
    rows = tuple(walk.at(place) for place in range(position, position + count))
    return Draw(rows=rows, position=position + count)


def scan(
    walk: Walk,
    position: int,
    count: int,
    keep: Callable[[int], bool],
    *,
    none_left: tuple[str, str],
) -> Draw:
    """The next ``count`` rows of the walk for which ``keep`` holds.

    Raises:
        PreflightError: there is none, with the fact and the remedy of ``none_left``.
    """
    rows: list[int] = []
    skipped, most = 0, MOST_SKIPPED if walk.size is None else 2 * walk.size
    while len(rows) < count:
        index = walk.at(position)
        position += 1
        if keep(index):
            rows.append(index)
            skipped = 0
        else:
            skipped += 1
        if skipped > most:
            fact, remedy = none_left
            raise PreflightError(fact, place="algorithm", remedy=remedy)
    return Draw(rows=tuple(rows), position=position)


def cycle(rows: Sequence[int], position: int, count: int) -> Draw:
    """These rows one after another, again and again. A position is one place, not one of the walk."""
    drawn = tuple(rows[place % len(rows)] for place in range(position, position + count))
    return Draw(rows=drawn, position=position + count)


def all_rows(walk: Walk, part: str) -> list[int]:
    """Every row that the walk has, in the order of the data set.

    Raises:
        PreflightError: the data set has no end, so its rows cannot be ranked.
    """
    if walk.size is None:
        raise PreflightError(
            f"`{part}` ranks all rows, and this data set has no end",
            place="data set",
            remedy="set dataset.limit, or take another sampler",
        )
    return sorted(walk.at(place) for place in range(walk.size))


def value_of(walk: Walk, index: int, column: str, part: str) -> Any:
    """What stands in a column of a row.

    Raises:
        PreflightError: there is no such column; it names those that exist.
    """
    row = walk.row(index)
    if column not in row:
        raise PreflightError(
            f"`{part}` reads the column `{column}`, which row {index} does not have; it has "
            f"{', '.join(map(str, row))}",
            place="data set",
            remedy=f"map it with dataset.columns: {{{column}: EXISTING}}, or name another column",
        )
    return row[column]


def number_of(walk: Walk, index: int, column: str, part: str) -> float:
    """The same for a column of numbers.

    Raises:
        PreflightError: there is no such column, or no finite number in it.
    """
    value = value_of(walk, index, column, part)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise PreflightError(
        f"`{part}` wants a number in the column `{column}`; row {index} has {value!r:.60}",
        place="data set",
        remedy="repair the row, or name another column",
    )


@dataclass
class Hardest:
    """The share of rows with the lowest pass rate (arXiv 2508.14094): the hardest tenth teaches most.

    ``column`` holds a pass rate of the model before training. Of equal ones the first rows count.
    The chosen rows come in the order of the walk, each once an epoch.
    """

    column: str = "pass_rate"
    share: float = 0.1
    _known: tuple[Walk, frozenset[int]] | None = field(default=None, repr=False)

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        del step
        if self._known is None or self._known[0] is not walk:
            self._known = (walk, frozenset(self.rows(walk)))
        chosen = self._known[1]
        none_left = (f"no row is among the hardest {self.share:g}", "raise share")
        return scan(walk, position, count, chosen.__contains__, none_left=none_left)

    def rows(self, walk: Walk) -> list[int]:
        """The chosen rows, the hardest first."""
        rows = all_rows(walk, "hardest")
        rate = {row: number_of(walk, row, self.column, "hardest") for row in rows}
        kept = max(1, math.ceil(self.share * len(rows) - 1e-9))
        return sorted(rows, key=lambda row: (rate[row], row))[:kept]


@dataclass(frozen=True)
class Band:
    """Rows whose number in ``column`` lies between ``low`` and ``high``, both included."""

    column: str = "pass_rate"
    low: float = 0.1
    high: float = 0.9

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        del step

        def inside(row: int) -> bool:
            return self.low <= number_of(walk, row, self.column, "band") <= self.high

        none_left = (
            f"no row has a `{self.column}` between {self.low:g} and {self.high:g}",
            "widen low and high of the sampler, or name another column",
        )
        return scan(walk, position, count, inside, none_left=none_left)


@dataclass(frozen=True)
class OneExample:
    """The same rows in every step, in turn (1-shot RLVR, arXiv 2504.20571).

    One row fills all prompts of a step. Their ids are told apart (``id#2``), and with them the random
    numbers, so each has a group of its own.
    """

    rows: tuple[int, ...] = (0,)

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        del step
        for row in self.rows:
            try:
                walk.row(row)
            except IndexError:
                raise PreflightError(
                    f"`one-example` asks row {row}, which the data set does not have"
                    + (f"; its walk has {walk.size}" if walk.size else ""),
                    place="data set",
                    remedy="rows count from 0; name others",
                ) from None
        return cycle(self.rows, position, count)


@dataclass(frozen=True)
class Stage:
    """Rows that match ``where``: column to a value, or to a tuple of values. ``steps`` None has no end."""

    steps: int | None
    where: Mapping[str, Any]

    def holds(self, walk: Walk, row: int) -> bool:
        """The row belongs to the stage."""
        for column, wanted in self.where.items():
            value = value_of(walk, row, column, "staged")
            if value not in (wanted if isinstance(wanted, tuple) else (wanted,)):
                return False
        return True


@dataclass(frozen=True)
class Staged:
    """One kind of rows after another (SRPO's two stages, arXiv 2504.14286: mathematics, then code).

    A stage ends with its last step; the last stage has no end.
    """

    stages: tuple[Stage, ...]

    def __call__(self, walk: Walk, position: int, count: int, step: int, /) -> Draw:
        stage = self.stage(step)
        none_left = (
            f"no row matches the stage of step {step}: "
            + ", ".join(f"{column} {value!r}" for column, value in stage.where.items()),
            "correct `where` of the sampler's stage",
        )
        return scan(walk, position, count, lambda row: stage.holds(walk, row), none_left=none_left)

    def stage(self, step: int) -> Stage:
        """The stage of a step, counted from 1."""
        end = 0
        for stage in self.stages:
            end += stage.steps or 0
            if stage.steps is None or step <= end:
                return stage
        return self.stages[-1]

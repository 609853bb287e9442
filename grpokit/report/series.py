"""A run's numbers as named series, with what they are drawn over: steps, completions, tokens, seconds.

A run that is still being written is read as it stands. A damaged line is left out and counted. Where a run
went back (a resume whose files were not cut), the later lines count.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from grpokit.diagnose.rows import json_lines, numbers, own_row
from grpokit.errors import CheckpointError, RecipeError
from grpokit.report.listing import Listed, json_object, read_run

__all__ = [
    "AXES",
    "HELD_OUT",
    "Axis",
    "Points",
    "RunSeries",
    "Series",
    "check_metrics",
    "read_series",
]

Axis = Literal["step", "completions", "tokens", "seconds"]
AXES: dict[Axis, str] = {
    "step": "step",
    "completions": "completions generated",
    "tokens": "completion tokens generated",
    "seconds": "seconds of steps",
}
"""What series are drawn over, and in words."""
TOTAL = "total/completions_generated"
HELD_OUT = "eval/"
"""Before the names of what evaluations during training say."""

Points = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Series:
    """One number, with the steps at which it was written."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Drops what was written at this step and later."""
        place = bisect_left(self.steps, step)
        del self.steps[place:], self.values[place:]


@dataclass(frozen=True, kw_only=True)
class RunSeries:
    """A run with all its numbers.

    Attributes:
        series: by the names of ``metrics.jsonl``; ``seconds`` and ``seconds/STAGE``; ``eval/NAME``.
        axes: what had been spent when each step ended; one that no line tells of is absent.
        damaged: lines that were left out.
    """

    listed: Listed
    plan: Mapping[str, Any]
    series: Mapping[str, Series]
    axes: Mapping[Axis, Series]
    damaged: int = 0

    @property
    def name(self) -> str:
        return self.listed.path.name

    @property
    def seed(self) -> int | None:
        train = self.listed.data.get("train")
        seed = train.get("seed") if isinstance(train, dict) else None
        return seed if isinstance(seed, int) else None

    @property
    def steps(self) -> int:
        """Lines of training."""
        return len(self.axes["step"].steps)

    def values(self, name: str) -> array[float]:
        return self.series[name].values if name in self.series else array("d")

    def spent(self, axis: Axis, step: int) -> float | None:
        """What had been spent when a step ended, 0 before the first; None where it is not known."""
        if axis not in self.axes:
            return None
        if step <= 0:
            return 0.0
        known = self.axes[axis]
        place = bisect_right(known.steps, step) - 1
        return known.values[place] if place >= 0 else None

    def points(self, name: str, axis: Axis = "step") -> Points:
        """Abscissas and values of a series."""
        found = self.series.get(name, Series())
        xs, ys = [], []
        for step, value in zip(found.steps, found.values, strict=True):
            if (x := self.spent(axis, step)) is not None:
                xs.append(x)
                ys.append(value)
        return xs, ys


class _Reader:
    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self.axes: dict[Axis, Series] = {"step": Series()}
        self.damaged = 0

    def metrics(self, row: Mapping[str, Any]) -> None:
        found = own_row(row)
        values = {**found.values, **_seconds(row.get("seconds"))}
        steps = self.axes["step"].steps
        if steps and found.step <= steps[-1]:
            for each in (*self.series.values(), *self.axes.values()):
                each.cut(found.step)
        for name, value in values.items():
            self._add(name, found.step, value)
        self.axes["step"].add(found.step, found.step)
        self._spend("completions", found.step, values.get("completions"), values.get(TOTAL))
        self._spend("tokens", found.step, values.get("tokens"), None)
        self._spend("seconds", found.step, values.get("seconds"), None)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        step, values, _ = numbers(row)
        known = self.series.get(f"{HELD_OUT}accuracy")
        if known and known.steps and step <= known.steps[-1]:
            for name, each in self.series.items():
                if name.startswith(HELD_OUT):
                    each.cut(step)
        for name, value in values.items():
            self._add(HELD_OUT + name, step, value)

    def _add(self, name: str, step: int, value: float) -> None:
        if name not in self.series:
            self.series[name] = Series()
        self.series[name].add(step, value)

    def _spend(self, axis: Axis, step: int, more: float | None, total: float | None) -> None:
        """Adds up, where the line does not say the sum itself."""
        if total is None and more is not None:
            values = self.axes[axis].values if axis in self.axes else ()
            total = (values[-1] if values else 0.0) + more
        if total is not None:
            self.axes.setdefault(axis, Series()).add(step, total)


def _seconds(data: object) -> dict[str, float]:
    """``seconds``, and the stages as ``seconds/generate``."""
    if not isinstance(data, dict):
        return {}
    _, found, _ = numbers({"step": 0, **data})
    return {"seconds" if name == "total" else f"seconds/{name}": v for name, v in found.items()}


def read_series(path: Path) -> RunSeries:
    """Reads a run's folder.

    Raises:
        CheckpointError: a file is there and cannot be opened.
    """
    reader = _Reader()
    for name, take in (("metrics.jsonl", reader.metrics), ("evals.jsonl", reader.evaluation)):
        for row in _rows(path / name):
            try:
                if isinstance(row, ValueError):
                    raise row
                take(row)
            except ValueError:
                reader.damaged += 1
    return RunSeries(
        listed=read_run(path),
        plan=json_object(path / "plan.json"),
        series=reader.series,
        axes=reader.axes,
        damaged=reader.damaged,
    )


def _rows(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    try:
        with path.open("rb") as file:
            for _, row in json_lines(file):
                yield row
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}",
            place=str(path),
            remedy="name a run that you may read",
        ) from error


def check_metrics(names: list[str], runs: list[RunSeries]) -> None:
    """Refuses names that no run has, all of them at once.

    Raises:
        RecipeError: with near misses, and all that is known.
    """
    known = sorted({name for run in runs for name in run.series})
    unknown = [name for name in names if name not in known]
    if not unknown:
        return
    problems = []
    for name in unknown:
        near = get_close_matches(name[:100], known, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        problems.append(f"no run has a number {name!r}{hint}")
    raise RecipeError(
        "unknown metric" if len(unknown) == 1 else "unknown metrics",
        place="--metric",
        remedy=f"there are {', '.join(known)}" if known else "the runs have no step yet",
        problems=tuple(problems),
    )

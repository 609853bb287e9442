"""Training curves in numbers: ends, efficiency, and runs of unequal length at equal expense."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from grpokit.report.points import thinned
from grpokit.report.series import AXES, HELD_OUT, RunSeries

__all__ = [
    "LAST",
    "SMOOTH",
    "at_equal",
    "curve",
    "efficiency",
    "ending",
    "over_seeds",
    "smoothed",
]

LAST = 20
"""Steps whose mean stands for the end of a run."""
SMOOTH = 5
"""Steps of the moving average by which a level counts as reached."""
POINTS = 48
"""Values of a curve in the summary."""


def ending(run: RunSeries, name: str, *, last: int = LAST, upto: int | None = None) -> float | None:
    """The mean over the last steps of a run, or the last ones up to a step; None where none has the number.

    Not the last values: a number that few steps have would tell of times long ago. Of an evaluation during
    training, which is made now and then, it is the last one.
    """
    found, steps = run.series.get(name), run.axes["step"].steps
    end = len(steps) if upto is None else bisect_right(steps, upto)
    if found is None or end == 0:
        return None
    after = bisect_right(found.steps, steps[end - 1])
    before = bisect_left(found.steps, steps[max(0, end - last)])
    if name.startswith(HELD_OUT):
        before = max(0, after - 1)
    return fmean(found.values[before:after]) if before < after else None


def smoothed(values: Iterable[float], window: int) -> list[float]:
    """At each place the mean of the last ``window`` values; of fewer at the beginning."""
    seen: deque[float] = deque(maxlen=max(1, window))
    found = []
    for value in values:
        seen.append(value)
        found.append(fmean(seen))
    return found


def curve(run: RunSeries, name: str) -> dict[str, Any]:
    """A series in short."""
    series = run.series.get(name)
    if series is None:
        return {"steps": [], "values": []}
    steps = [round(each) for each in thinned(series.steps, POINTS)]
    return {"steps": steps, "values": thinned(series.values, POINTS)}


def efficiency(runs: Sequence[RunSeries], name: str = "reward") -> dict[str, Any] | None:
    """Where each run first reached the highest level that all of them reached, by a moving average.

    None where a run does not have the number. The average begins when it is full, so that one lucky step at
    the beginning reaches nothing.
    """
    if not runs or not all(run.values(name) for run in runs):
        return None
    means = [smoothed(run.values(name), SMOOTH) for run in runs]
    starts = [min(SMOOTH, len(each)) - 1 for each in means]
    level = min(max(each[start:]) for each, start in zip(means, starts, strict=True))
    reached = []
    for run, each, start in zip(runs, means, starts, strict=True):
        place = next(i for i in range(start, len(each)) if each[i] >= level)
        step = run.series[name].steps[place]
        reached.append({axis: run.spent(axis, step) for axis in AXES})
    return {"metric": name, "level": level, "smooth": SMOOTH, "reached": reached}


def at_equal(runs: Sequence[RunSeries], name: str = "reward") -> list[dict[str, Any]]:
    """The number where all runs had spent as much as the one that spent least.

    For each of steps, completions, tokens and seconds that all runs know: the mean over the last 20 steps up
    to that point; None where a run had no such step yet.
    """
    rows = []
    for axis in AXES:
        ends = [run.axes[axis].values[-1] for run in runs if axis in run.axes and run.steps]
        if not ends or len(ends) < len(runs):
            continue
        least = min(ends)
        found = []
        for run in runs:
            known = run.axes[axis]
            place = bisect_right(known.values, least) - 1
            found.append(ending(run, name, upto=known.steps[place]) if place >= 0 else None)
        rows.append({"axis": axis, "at": least, "values": found})
    return rows


def over_seeds(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and range of one number over the seeds of a recipe; None where no run has it."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": fmean(known), "low": min(known), "high": max(known), "n": len(known)}

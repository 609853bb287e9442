"""Numbers on their way into a picture: averages, thinning, ticks. What is missing stays missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

__all__ = [
    "LIMIT",
    "Values",
    "averaged",
    "bin_size",
    "extremes",
    "finite",
    "means",
    "short",
    "thinned",
    "ticks",
]

LIMIT = 300
"""Points of a curve; a longer run is drawn in bins of as many steps as it takes."""

Values = Sequence[float | None]


def finite(value: object) -> float | None:
    """A number that can be drawn; missing where it is none, is NaN, or is beyond all reason."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def averaged(values: Values, width: int = 5) -> list[float | None]:
    """The mean of what is known among the last ``width`` values; missing where the value is."""
    found: list[float | None] = []
    for place, value in enumerate(values):
        window = values[max(0, place - width + 1) : place + 1]
        known = [each for each in window if each is not None]
        found.append(None if value is None else fmean(known))
    return found


def bin_size(count: int, limit: int = LIMIT) -> int:
    """Rows that one point stands for."""
    return max(1, math.ceil(count / limit))


def means(
    steps: Sequence[float], values: Values, size: int
) -> tuple[list[float], list[float | None]]:
    """A point a bin: mean step, and mean of the known values."""
    if size == 1:
        return list(steps), list(values)
    xs, ys = [], []
    for start in range(0, len(steps), size):
        known = [each for each in values[start : start + size] if each is not None]
        xs.append(fmean(steps[start : start + size]))
        ys.append(fmean(known) if known else None)
    return xs, ys


def extremes(
    steps: Sequence[float], values: Values, size: int
) -> tuple[list[float], list[float | None]]:
    """The smallest and the largest value of each bin, in their order: no peak is lost."""
    if size == 1:
        return list(steps), list(values)
    xs: list[float] = []
    ys: list[float | None] = []
    for start in range(0, len(steps), size):
        places = range(start, min(start + size, len(steps)))
        known = [(value, place) for place in places if (value := values[place]) is not None]
        if not known:
            xs.append(steps[start])
            ys.append(None)
            continue
        for place in sorted({min(known)[1], max(known)[1]}):
            xs.append(steps[place])
            ys.append(values[place])
    return xs, ys


def thinned(values: Sequence[float], points: int) -> list[float]:
    """At most so many values, each the mean of its share."""
    count, shares = len(values), min(len(values), max(points, 0))
    edges = [count * place // shares for place in range(shares + 1)] if shares else []
    return [fmean(values[start:end]) for start, end in pairwise(edges)]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) within a range, about ``count`` of them."""
    if not low < high:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.8)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 12 - math.floor(math.log10(step))) for n in range(first, last + 1)]


def short(value: float, *, percent: bool = False) -> str:
    """A number as an axis or a table has it: 0.25, 25%, 12k, 1e-05."""
    if percent:
        return f"{100 * value:.4g}%"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"

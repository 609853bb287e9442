"""Statistics that a wild step does not change. Plain Python; a window has tens of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

__all__ = ["Slope", "mad", "median_error", "theil_sen"]

NORMAL_95 = 1.96


class Slope(NamedTuple):
    """A slope per step with the ends of its 95 % interval."""

    middle: float
    low: float
    high: float


def theil_sen(steps: Sequence[int], values: Sequence[float]) -> Slope:
    """The median slope over all pairs, with Sen's interval (1968), which comes from Kendall's S.

    Degenerate: fewer than two different steps give 0 with an infinite interval.
    """
    pairs = combinations(zip(steps, values, strict=True), 2)
    slopes = sorted((b - a) / (t - s) for (s, a), (t, b) in pairs if t != s)
    if not slopes:
        return Slope(0.0, -math.inf, math.inf)
    n = len(values)
    half = NORMAL_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    low = max(round(len(slopes) / 2 - half) - 1, 0)
    high = min(round(len(slopes) / 2 + half), len(slopes) - 1)
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation, scaled by 1.4826 so that it estimates a normal's deviation."""
    middle = statistics.median(values)
    return 1.4826 * statistics.median(abs(value - middle) for value in values)


def median_error(*samples: Sequence[float]) -> float:
    """The standard error of a median, or of the difference of two, for about normal values."""
    return 1.25 * math.sqrt(sum(mad(each) ** 2 / len(each) for each in samples))

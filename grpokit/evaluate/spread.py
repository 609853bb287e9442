"""Means and intervals over seeds. There are few seeds, so Student's t and not the normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import Any

from grpokit.evaluate.intervals import Interval

__all__ = ["Spread", "difference_of_means", "expected", "spread", "student_t"]

LEVEL = 0.95
_STEPS = 200


def student_t(level: float, freedom: int) -> float:
    """The t that Student's distribution stays within with probability ``level``, two-sided.

    0.95 with 2 degrees of freedom: 4.303. From the closed form of the distribution for whole degrees
    of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4), by bisection.
    """
    if freedom < 1 or not 0 < level < 1:
        raise ValueError(f"level {level}, {freedom} degrees of freedom")
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(freedom))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _within(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """Probability of |t| below sqrt(freedom) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (1.0, 0.0) if freedom % 2 == 0 else (cosine, 0.0)
    for k in range(2 if freedom % 2 == 0 else 3, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    if freedom % 2 == 0:
        return sine * total
    return 2 / math.pi * (angle + sine * total)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The mean of one number over n seeds.

    Attributes:
        interval: the 95 % t interval of the mean; None with a single seed, which says nothing of
            others. It can be as narrow as 0 if all seeds agree to the last digit.
    """

    values: tuple[float, ...]
    mean: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """Of a difference: ``better`` or ``worse`` only where the interval excludes 0."""
        if self.interval is None:
            return "one seed"
        if self.interval[0] > 0:
            return "better"
        return "worse" if self.interval[1] < 0 else "unclear"

    def as_dict(self) -> dict[str, Any]:
        return {
            "values": list(self.values),
            "mean": self.mean,
            "interval": None if self.interval is None else list(self.interval),
            "n": len(self.values),
        }


def spread(values: Sequence[float], *, within: Interval | None = None) -> Spread:
    """Mean and t interval: mean +- t sd / sqrt(n), cut to ``within`` where the number has bounds."""
    mean = fmean(values)
    if len(values) < 2:
        return Spread(values=tuple(values), mean=mean, interval=None)
    half = student_t(LEVEL, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    low, high = mean - half, mean + half
    if within is not None:
        low, high = max(low, within[0]), min(high, within[1])
    return Spread(values=tuple(values), mean=mean, interval=(low, high))


def difference_of_means(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """The 95 % interval of mean(second) - mean(first), by Welch's t: seeds of two recipes.

    The degrees of freedom are rounded down, so it is rather too wide. None where a side has a single seed,
    which tells nothing of others, and where no seed of either side differs from another.
    """
    if min(len(first), len(second)) < 2:
        return None
    parts = [variance(each) / len(each) for each in (first, second)]
    whole = sum(parts)
    if whole == 0:
        return None
    sizes = (len(first), len(second))
    freedom = whole**2 / sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True))
    half = student_t(LEVEL, max(1, math.floor(freedom + 1e-9))) * math.sqrt(whole)
    gap = fmean(second) - fmean(first)
    return gap - half, gap + half


def expected(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Where a share of one more seed is expected: mean +- t(n - 1) sd sqrt(1 + 1/n), within 0 to 1.

    None of a single seed.
    """
    n = len(values)
    if n < 2:
        return None
    half = student_t(level, n - 1) * stdev(values) * math.sqrt(1 + 1 / n)
    return max(0.0, fmean(values) - half), min(1.0, fmean(values) + half)

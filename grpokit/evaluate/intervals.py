"""Intervals and tests for shares, in closed form or by bisection; no random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

__all__ = [
    "Interval",
    "claim",
    "mcnemar_exact",
    "minimum_detectable",
    "paired_difference",
    "wilson",
    "wilson_of",
]

Interval = tuple[float, float]
_STEPS = 100


def claim(low: float, high: float) -> str:
    """What an interval of a difference allows to say: ``improved`` or ``worse`` only where it excludes 0."""
    if low > 0:
        return "improved"
    return "worse" if high < 0 else "no detectable change"


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share.

    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). It never leaves [0, 1] and keeps a
    width at 0 and at n successes: 0 of 25 gives [0, 13.3 %]. Without items it is [0, 1].
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    return wilson_of(successes / n, n, level) if n else (0.0, 1.0)


def wilson_of(share: float, size: float, level: float = 0.95) -> Interval:
    """Wilson's interval for a share of ``size`` items, which need not be a whole number."""
    z = _z(level)
    centre = share + z * z / (2 * size)
    half = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    low = 0.0 if share == 0 else (centre - half) / scale
    high = 1.0 if share == 1 else (centre + half) / scale
    return low, high


def paired_difference(gained: float, lost: float, n: float, level: float = 0.95) -> Interval:
    """Tango's score interval for the difference of two shares measured on the same n items.

    ``gained`` items are right only in the second measurement, ``lost`` only in the first. The
    interval holds every difference d that a score test would not refuse, with the nuisance
    parameter at its maximum-likelihood value under d (Tango, Statistics in Medicine 17, 1998).

    Chosen over the paired bootstrap because it excludes 0 exactly when McNemar's test refuses
    equality, and because it keeps a width where the two measurements never differ: the bootstrap
    would then print +-0. Without items it is [-1, 1].
    """
    if gained < 0 or lost < 0 or gained + lost > n * (1 + 1e-12):
        raise ValueError(f"{gained} gained and {lost} lost of {n}")
    if n == 0:
        return -1.0, 1.0
    z = _z(level)
    observed = (gained - lost) / n
    low = _bisect(lambda d: _tango(gained, lost, n, d) - z, -1.0, observed)
    high = _bisect(lambda d: _tango(gained, lost, n, d) + z, observed, 1.0)
    return low, high


def _tango(gained: float, lost: float, n: float, d: float) -> float:
    """The score statistic for "the difference is d"; falls as d grows."""
    linear = -gained - lost + (2 * n - gained + lost) * d
    constant = -lost * d * (1 - d)
    root = math.sqrt(max(linear * linear - 8 * n * constant, 0.0))
    nuisance = (root - linear) / (4 * n)  # share of items that are lost, given d
    variance = n * (2 * nuisance + d * (1 - d))
    gap = gained - lost - n * d
    if variance <= 0:
        return math.copysign(math.inf, gap) if gap else 0.0
    return gap / math.sqrt(variance)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a falling function between ``low`` and ``high``."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact McNemar p: how often fair coins split gained + lost flips this unevenly.

    1.0 without flips.
    """
    flips, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(flips, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << flips))


def minimum_detectable(
    n: float, discordant: float, *, power: float = 0.8, level: float = 0.95
) -> float:
    """The smallest true difference that a paired comparison of n items would show.

    (z_level + z_power) sqrt(discordant / n), where ``discordant`` is the share of items on which
    the two models differ. 1319 items with 20 % discordant: 3.45 points; 200 items: 8.9. Without
    items, or where it would exceed it, 1.
    """
    if n == 0:
        return 1.0
    return min(1.0, (_z(level) + NormalDist().inv_cdf(power)) * math.sqrt(discordant / n))

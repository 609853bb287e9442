"""The chance that a group is dead, estimated from ``n`` totals of one question.

A group is dead if its totals are all equal, up to rounding; completions without a total do not count. So say
the advantages of :mod:`grpokit.algorithms.advantage`, and a test compares the two. With totals of a few values
(right and wrong, say) of which value v came c_v times, the share of dead ones among all ways to take G of the n is

    sum_v C(c_v, G) / C(n, G)

which has the mean sum_v p_v^G, whatever the p_v are. The plain sum_v (c_v / n)^G is too high, by a lot where n is small.
"""

from __future__ import annotations

from math import comb

from grpokit.scoring.totals import Totals, classes

__all__ = ["beyond", "dead_share", "live_band", "signal"]


def dead_share(totals: Totals, group: int, *, whole: int | None = None) -> float:
    """The share of dead groups among all ways to take ``group`` of the completions.

    A completion without a total goes with any other, so with ``a`` of them
    sum_v [C(c_v + a, G) - C(a, G)] + C(a, G), over C(n, G).

    Args:
        whole: completions that there are, where ``totals`` are those of some of them: the groups that are dead
            and consist of these.

    Raises:
        ValueError: fewer completions than a group has.
    """
    count = len(totals) if whole is None else whole
    if group > count:
        raise ValueError(f"{count} completions tell nothing of groups of {group}")
    counts, absent = classes(totals)
    none = comb(absent, group)
    ways = sum(comb(each + absent, group) - none for each in counts) + none
    return ways / comb(count, group)


def beyond(shares: dict[int, float], group: int) -> tuple[float, float]:
    """Bounds for a ``group`` larger than the samples, from the shares of the sizes that are known.

    Shares fall with G, and their logarithms are convex in G, as those of all means of powers are. So from the
    two largest known sizes a < b, D(G) >= D(b) (D(b) / D(a))^((G - b) / (b - a)), and D(G) <= D(b).
    """
    known = sorted(shares)
    if not known:
        return 0.0, 1.0
    top = known[-1]
    if len(known) == 1 or shares[top] <= 0:
        return 0.0, shares[top]
    before = known[-2]
    fall = min(1.0, shares[top] / shares[before])
    return shares[top] * fall ** ((group - top) / (top - before)), shares[top]


def signal(dead: float, group: int) -> float:
    """The mean squared advantage of a completion: (1 - D(G)) (1 - 1/G).

    In a group that is not dead the squares of z-scores (over n) add up to G, less the part that goes into
    estimating the mean.
    """
    return (1 - dead) * (1 - 1 / group)


def live_band(group: int) -> tuple[float, float]:
    """The pass rates between which at least half of the groups are live: p^G + (1 - p)^G <= 1/2."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        if middle**group + (1 - middle) ** group > 0.5:
            low = middle
        else:
            high = middle
    return high, 1 - high

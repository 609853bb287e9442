"""Rank correlation of counted pairs. Ties are handled; a constant side has no correlation.

Pairs come as a mapping ``(x, y) -> how often``, so that scores with few values cost nothing however
many completions there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import groupby

__all__ = ["KENDALL", "SPEARMAN", "kendall", "spearman"]

Pairs = Mapping[tuple[float, float], int]

KENDALL = "tau-b = (C - D) / sqrt((N - X) (N - Y))"
"""Of all N = n (n - 1) / 2 pairs of completions, C have the same order under both scores and D the
opposite one; X are tied under the first score, Y under the second."""
SPEARMAN = "rho = Pearson's correlation of ranks; tied scores share the mean of their ranks"


def kendall(pairs: Pairs) -> float | None:
    """Kendall's tau-b, in n log n steps for n different pairs.

    ``tau-b = (C - D) / sqrt((N - X) (N - Y))``, see :data:`KENDALL`. None if one side is constant.
    """
    n = sum(pairs.values())
    every = n * (n - 1) // 2
    xs, ys = _margins(pairs)
    left = every - sum(c * (c - 1) // 2 for c in xs.values())
    right = every - sum(c * (c - 1) // 2 for c in ys.values())
    if not left or not right:
        return None
    return _concordance(pairs, sorted(ys)) / math.sqrt(left * right)


def spearman(pairs: Pairs) -> float | None:
    """Spearman's rho: Pearson's correlation of mid-ranks. None if one side is constant."""
    xs, ys = _margins(pairs)
    n = sum(pairs.values())
    rank_x, rank_y = _midranks(xs), _midranks(ys)
    middle = (n + 1) / 2
    cov = sum(c * (rank_x[x] - middle) * (rank_y[y] - middle) for (x, y), c in pairs.items())
    var_x = sum(c * (rank_x[x] - middle) ** 2 for x, c in xs.items())
    var_y = sum(c * (rank_y[y] - middle) ** 2 for y, c in ys.items())
    if not var_x or not var_y:
        return None
    return max(-1.0, min(1.0, cov / math.sqrt(var_x * var_y)))


def _margins(pairs: Pairs) -> tuple[Counter[float], Counter[float]]:
    xs: Counter[float] = Counter()
    ys: Counter[float] = Counter()
    for (x, y), count in pairs.items():
        xs[x] += count
        ys[y] += count
    return xs, ys


def _midranks(counts: Mapping[float, int]) -> dict[float, float]:
    ranks, before = {}, 0
    for value in sorted(counts):
        ranks[value] = before + (counts[value] + 1) / 2
        before += counts[value]
    return ranks


def _concordance(pairs: Pairs, ys: list[float]) -> int:
    """C - D, walking up the first score with a tree of counts over the second (Fenwick)."""
    place = {y: position for position, y in enumerate(ys, 1)}
    tree = [0] * (len(ys) + 1)
    total = seen = 0

    def below(position: int) -> int:
        count = 0
        while position:
            count += tree[position]
            position &= position - 1
        return count

    for _, same in groupby(sorted(pairs.items()), key=lambda item: item[0][0]):
        level = [(place[y], count) for (_, y), count in same]
        for position, count in level:  # before any of this level is counted: they are tied
            total += count * (below(position - 1) - (seen - below(position)))
        for position, count in level:
            seen += count
            node = position
            while node < len(tree):
                tree[node] += count
                node += node & -node
    return total

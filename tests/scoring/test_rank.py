"""Rank correlations against their definitions, pair by pair, and against published numbers."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations
from statistics import correlation

import pytest

from grpokit.scoring.rank import kendall, spearman


def tau_b(pairs: list[tuple[float, float]]) -> float | None:
    """By the definition: every pair of completions is looked at."""
    concordant = tied_x = tied_y = every = 0
    for (x1, y1), (x2, y2) in combinations(pairs, 2):
        every += 1
        tied_x += x1 == x2
        tied_y += y1 == y2
        concordant += ((x1 > x2) - (x1 < x2)) * ((y1 > y2) - (y1 < y2))
    below = (every - tied_x) * (every - tied_y)
    return concordant / math.sqrt(below) if below else None


def midranks(values: list[float]) -> list[float]:
    """Mean of the places that a value takes: those below it, and half of its equals."""
    return [sum(v < x for v in values) + (values.count(x) + 1) / 2 for x in values]


@pytest.mark.parametrize("seed", range(60))
def test_both_follow_their_definitions(seed: int) -> None:
    lot = random.Random(seed)
    levels = lot.choice([1, 2, 3, 10, 1000])
    pairs = [
        (lot.randrange(levels) / 3, lot.randrange(levels) - 1.5)
        for _ in range(lot.randrange(2, 60))
    ]
    counted = Counter(pairs)
    expected = tau_b(pairs)
    if expected is None:
        assert kendall(counted) is None
        assert spearman(counted) is None
        return
    assert kendall(counted) == pytest.approx(expected, abs=1e-12)
    xs, ys = ([pair[side] for pair in pairs] for side in (0, 1))
    rho = correlation(midranks(xs), midranks(ys))
    assert spearman(counted) == pytest.approx(rho, abs=1e-12)


def test_known_numbers() -> None:
    # The example of scipy.stats.kendalltau, whose tau-b is -0.47140452.
    pairs = Counter(zip([12, 2, 1, 12, 2], [1, 4, 7, 1, 0], strict=True))
    assert kendall(pairs) == pytest.approx(-0.47140452079103173)
    # The example of scipy.stats.spearmanr.
    assert spearman(Counter(zip([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], strict=True))) == pytest.approx(
        0.8207826816681233
    )


def test_order_is_what_counts() -> None:
    same = Counter({(float(n), math.exp(n)): 3 for n in range(20)})
    assert kendall(same) == pytest.approx(1.0)
    assert spearman(same) == pytest.approx(1.0)
    turned = Counter({(x, -y): c for (x, y), c in same.items()})
    assert kendall(turned) == pytest.approx(-1.0)
    assert spearman(turned) == pytest.approx(-1.0)
    assert kendall(Counter({(0.0, 1.0): 5, (0.0, 2.0): 5})) is None
    assert kendall(Counter()) is None
    assert spearman(Counter()) is None


def test_counts_cost_nothing() -> None:
    """Two billion completions of four kinds: 2x2 tables have tau-b = rho = phi."""
    table = Counter({(0.0, 0.0): 900_000_000, (0.0, 1.0): 10, (1.0, 0.0): 20, (1.0, 1.0): 10**9})
    a, b, c, d = table.values()
    phi = (a * d - b * c) / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    assert kendall(table) == pytest.approx(phi)
    assert spearman(table) == pytest.approx(phi)

"""Holm's adjustment, against its definition by closed testing."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from grpokit.evaluate.several import holm


def closed(values: list[float]) -> list[float]:
    """The p of a hypothesis is the largest Bonferroni p of all intersections that it belongs to."""
    places = range(len(values))
    subsets = [each for size in places for each in combinations(places, size + 1)]
    local = {each: min(1.0, len(each) * min(values[i] for i in each)) for each in subsets}
    return [max(p for each, p in local.items() if i in each) for i in places]


def test_golden() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.2]) == (0.2,)
    assert holm([1.0, 0.9]) == (1.0, 1.0)


def test_it_is_closed_testing() -> None:
    source = random.Random(7)
    for _ in range(200):
        values = [round(source.random() ** 3, 2) for _ in range(source.randint(1, 7))]
        assert holm(values) == pytest.approx(closed(values), abs=1e-12)

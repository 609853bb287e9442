"""Intervals and tests: golden values, definitions checked independently, coverage."""

import itertools
import math
import random

import pytest

from grpokit.evaluate.intervals import (
    mcnemar_exact,
    minimum_detectable,
    paired_difference,
    wilson,
)

Z = 1.959963984540054


def test_wilson_golden_values():
    low, high = wilson(0, 25)
    assert low == 0.0
    assert round(100 * high, 1) == 13.3
    assert wilson(25, 25)[1] == 1.0
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_limits_solve_the_score_equation():
    for successes, n in [(3, 17), (81, 263), (199, 200)]:
        for limit in wilson(successes, n):
            score = abs(successes / n - limit) / math.sqrt(limit * (1 - limit) / n)
            assert score == pytest.approx(Z, rel=1e-9) or limit in (0.0, 1.0)


def nuisance_by_search(gained, lost, n, d):
    """Maximises the multinomial likelihood over the share of lost items, given the difference."""
    same = n - gained - lost

    def likelihood(q):
        shares = (q + d, q, 1 - 2 * q - d)
        counts = (gained, lost, same)
        if any(s <= 0 and c > 0 for s, c in zip(shares, counts, strict=False)) or min(shares) < 0:
            return -math.inf
        return sum(c * math.log(s) for s, c in zip(shares, counts, strict=False) if c)

    low, high = max(0.0, -d), (1 - d) / 2
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (a, high) if likelihood(a) < likelihood(b) else (low, b)
    return (low + high) / 2


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 2, 50), (4, 9, 82), (1, 0, 30), (40, 3, 60)]
)
def test_paired_limits_solve_the_score_equation(gained, lost, n):
    for d in paired_difference(gained, lost, n):
        q = nuisance_by_search(gained, lost, n, d)
        score = (gained - lost - n * d) / math.sqrt(n * (2 * q + d - d * d))
        assert abs(score) == pytest.approx(Z, rel=1e-4)


def test_paired_interval_keeps_a_width_without_flips():
    low, high = paired_difference(0, 0, 25)
    assert -low == pytest.approx(high)
    assert high == pytest.approx(wilson(0, 25)[1])
    assert paired_difference(0, 0, 0) == (-1.0, 1.0)
    assert paired_difference(10, 0, 10)[1] == pytest.approx(1.0)


def test_paired_interval_excludes_zero_exactly_when_the_score_test_refuses():
    for gained, lost in itertools.product(range(0, 40, 3), repeat=2):
        low, high = paired_difference(gained, lost, 100)
        refused = gained != lost and (gained - lost) ** 2 / (gained + lost) > Z * Z
        assert (low > 0 or high < 0) == refused
        if low > 0 or high < 0:
            assert (low > 0) == (gained > lost)


def test_paired_interval_is_antisymmetric():
    low, high = paired_difference(13, 5, 90)
    assert paired_difference(5, 13, 90) == pytest.approx((-high, -low))


def test_paired_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(1)
    n, gain, loss = 60, 0.2, 0.1
    hits = 0
    for _ in range(1000):
        draws = [rng.random() for _ in range(n)]
        gained = sum(u < gain for u in draws)
        lost = sum(gain <= u < gain + loss for u in draws)
        low, high = paired_difference(gained, lost, n)
        hits += low <= gain - loss <= high
    assert 0.93 <= hits / 1000 <= 0.975


def test_mcnemar_exact():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(6, 0) == pytest.approx(2 / 64)
    assert mcnemar_exact(12, 2) == mcnemar_exact(2, 12) == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    assert 0 < mcnemar_exact(1600, 1400) < 0.001  # far beyond the range of floats


def test_minimum_detectable_golden_values():
    assert round(100 * minimum_detectable(1319, 0.2), 2) == 3.45
    assert round(100 * minimum_detectable(200, 0.2), 1) == 8.9
    assert minimum_detectable(0, 0.2) == 1.0


@pytest.mark.parametrize("bad", [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(bad):
    with pytest.raises(ValueError, match="successes"):
        wilson(*bad)
    with pytest.raises(ValueError, match="gained"):
        paired_difference(4, 3, 6)

"""Means and intervals over seeds, against tables and against a simulation."""

from __future__ import annotations

import random

import pytest

from grpokit.evaluate.spread import difference_of_means, expected, spread, student_t

# Two-sided 95 % and 99 % points of Student's distribution, from printed tables.
TABLE = {
    (0.95, 1): 12.706,
    (0.95, 2): 4.303,
    (0.95, 3): 3.182,
    (0.95, 4): 2.776,
    (0.95, 9): 2.262,
    (0.95, 30): 2.042,
    (0.99, 2): 9.925,
    (0.99, 5): 4.032,
}


@pytest.mark.parametrize(("asked", "expected"), TABLE.items(), ids=str)
def test_student_t(asked: tuple[float, int], expected: float) -> None:
    assert student_t(*asked) == pytest.approx(expected, abs=6e-4)


def test_no_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="0 degrees"):
        student_t(0.95, 0)


def test_three_values_by_hand() -> None:
    found = spread([0.5, 0.6, 0.7])
    half = 4.302653 * 0.1 / 3**0.5
    assert found.mean == pytest.approx(0.6)
    assert found.interval == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


def test_an_interval_stays_within_bounds() -> None:
    assert spread([0.0, 1.0], within=(0.0, 1.0)).interval == (0.0, 1.0)
    assert spread([1.0, 1.0, 1.0], within=(0.0, 1.0)).interval == (1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.10, 0.11, 0.12], "better"),
        ([-0.10, -0.11, -0.12], "worse"),
        ([0.01, 0.11, 0.12], "unclear"),
        ([0.0, 0.0, 0.0], "unclear"),
        ([0.5], "one seed"),
    ],
)
def test_the_verdict_follows_the_interval(values: list[float], verdict: str) -> None:
    found = spread(values)
    assert found.verdict == verdict
    assert (found.interval is None) == (len(values) == 1)


def test_the_interval_covers_as_often_as_it_says() -> None:
    draw = random.Random(1)
    trials = 4000
    covered = 0
    for _ in range(trials):
        interval = spread([draw.gauss(0.3, 0.05) for _ in range(3)]).interval
        assert interval is not None
        covered += interval[0] <= 0.3 <= interval[1]
    assert covered / trials == pytest.approx(0.95, abs=0.012)


def test_two_recipes_by_welch() -> None:
    """mean 0.8 and 0.9, variances 0.01 and 0.0025: 2.94 degrees of freedom, rounded to 2."""
    first, second = [0.7, 0.8, 0.9], [0.85, 0.9, 0.95]
    half = 4.302653 * (0.01 / 3 + 0.0025 / 3) ** 0.5
    assert difference_of_means(first, second) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-6)


def test_equal_variances_have_all_the_freedom() -> None:
    """Two times three values with one variance: 4 degrees, t = 2.776."""
    low, high = difference_of_means([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]) or (0, 0)
    half = 2.776445 * (2 * 0.01 / 3) ** 0.5
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-6)


def test_no_interval_without_noise_or_with_one_seed() -> None:
    assert difference_of_means([0.5], [0.6, 0.7]) is None
    assert difference_of_means([0.5, 0.5], [0.7, 0.7]) is None


def test_the_interval_of_two_recipes_covers() -> None:
    source, hits = random.Random(3), 0
    for _ in range(2000):
        first = [source.gauss(0.5, 0.1) for _ in range(3)]
        second = [source.gauss(0.6, 0.02) for _ in range(3)]
        low, high = difference_of_means(first, second) or (0, 0)
        hits += low <= 0.1 <= high
    assert 0.94 <= hits / 2000 <= 0.99


def test_where_another_seed_is_expected() -> None:
    half = 4.302653 * 0.01 * (4 / 3) ** 0.5
    assert expected([0.5, 0.51, 0.52]) == pytest.approx((0.51 - half, 0.51 + half), abs=1e-6)
    assert expected([0.9, 1.0]) == (0.0, 1.0)
    assert expected([0.9]) is None

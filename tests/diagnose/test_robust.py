"""The statistics, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from grpokit.diagnose.robust import mad, median_error, theil_sen


def test_a_straight_line_has_its_slope_and_no_doubt() -> None:
    slope = theil_sen(range(20), [3 + 0.5 * step for step in range(20)])
    assert (slope.low, slope.middle, slope.high) == (0.5, 0.5, 0.5)


def test_one_wild_value_changes_no_slope() -> None:
    values = [0.1 * step for step in range(21)]
    values[10] = 1e9
    slope = theil_sen(range(21), values)
    assert slope.middle == pytest.approx(0.1)
    assert slope.low == pytest.approx(0.1)


def test_the_interval_is_sens() -> None:
    """Five points: S has variance 50/3, so 1.96 deviations are 8.0, and the ranks are 0 and 9 of 10."""
    slope = theil_sen(range(5), [0, 1, 3, 2, 5])
    slopes = sorted(
        (b - a) / (t - s)
        for s, a in enumerate([0, 1, 3, 2, 5])
        for t, b in enumerate([0, 1, 3, 2, 5])
        if t > s
    )
    assert slope.middle == (slopes[4] + slopes[5]) / 2
    assert (slope.low, slope.high) == (slopes[0], slopes[9])


def test_no_slope_without_two_steps() -> None:
    assert tuple(theil_sen([4], [1.0])) == (0.0, -math.inf, math.inf)
    assert tuple(theil_sen([4, 4], [1.0, 2.0])) == (0.0, -math.inf, math.inf)


def test_the_deviation_of_a_wild_value_is_small() -> None:
    assert mad([1, 2, 3, 4, 1e9]) == pytest.approx(1.4826)
    assert mad([5.0]) == 0.0


def test_the_error_of_a_median_is_that_of_normal_values() -> None:
    """A deviation of 1.4826 over three values; of a difference the root of the sum of squares."""
    one = 1.25 * 1.4826 / math.sqrt(3)
    assert median_error([1, 2, 3]) == pytest.approx(one)
    assert median_error([1, 2, 3], [4, 5, 6]) == pytest.approx(one * math.sqrt(2))

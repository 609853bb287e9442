"""Averages, bins and ticks, with what is missing left missing."""

from __future__ import annotations

import random

import pytest

from grpokit.report.points import LIMIT, averaged, bin_size, extremes, finite, means, short, ticks


def test_the_average_is_of_what_is_known() -> None:
    assert averaged([1, 2, 3, 4, 5, 6]) == [1, 1.5, 2, 2.5, 3, 4]
    assert averaged([1, None, 3, None, None, None, None, 5]) == [
        1,
        None,
        2,
        None,
        None,
        None,
        None,
        5,
    ]
    assert averaged([None]) == [None]


def test_a_bin_has_the_mean_of_its_known_values() -> None:
    steps, values = means([1, 2, 3, 4, 5], [1, 3, None, 5, None], 2)
    assert (steps, values) == ([1.5, 3.5, 5], [2, 5, None])
    assert means([1, 2], [1, None], 1) == ([1, 2], [1, None])


def test_no_peak_is_lost() -> None:
    draw = random.Random(1)
    values = [None if draw.random() < 0.2 else draw.gauss(0, 1) for _ in range(5000)]
    size = bin_size(len(values))
    steps, kept = extremes(range(5000), values, size)
    known = [value for value in values if value is not None]
    drawn = [value for value in kept if value is not None]
    assert len(kept) <= 2 * LIMIT
    assert (min(drawn), max(drawn)) == (min(known), max(known))
    assert steps == sorted(steps)
    assert all(values[int(step)] == value for step, value in zip(steps, kept, strict=True) if value)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.13, [0, 0.025, 0.05, 0.075, 0.1, 0.125]),
        (-3, 7, [-2, 0, 2, 4, 6]),
        (1, 120, [20, 40, 60, 80, 100, 120]),
        (1e-6, 5e-6, [1e-6, 2e-6, 3e-6, 4e-6, 5e-6]),
        (4, 4, [4]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_ticks_stay_inside_and_few() -> None:
    draw = random.Random(2)
    for _ in range(500):
        low = draw.uniform(-1e6, 1e6)
        high = low + 10 ** draw.uniform(-3, 6)
        found = ticks(low, high)
        assert 3 <= len(found) <= 8
        assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in found)


def test_numbers_are_short() -> None:
    shown = [short(n) for n in (0.25, 0, 1e-5, 9999, 12_000, 1_234_567, -20_000, 5e9)]
    assert shown == ["0.25", "0", "1e-05", "9999", "12k", "1.235M", "-20k", "5G"]
    assert short(0.125, percent=True) == "12.5%"


def test_what_cannot_be_drawn_is_missing() -> None:
    assert [finite(n) for n in (1, 0.5, -2.0)] == [1.0, 0.5, -2.0]
    odd = (None, "1", True, float("nan"), float("inf"), 1e301, 10**400, [1])
    assert [finite(n) for n in odd] == [None] * len(odd)

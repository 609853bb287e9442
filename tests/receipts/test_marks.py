"""Bits and the numbers that follow from them."""

import math

import pytest

from grpokit.receipts.again import expected
from grpokit.receipts.marks import difference, measured, pack, unpack


@pytest.mark.parametrize(
    ("right", "text"),
    [
        ((), ""),
        ((True,), "8"),
        ((False, False, False, True), "1"),
        ((True, False, True, False, True), "a8"),
        ((True,) * 8, "ff"),
    ],
)
def test_four_answers_a_digit(right, text):
    assert pack(right) == text
    assert unpack(text, len(right)) == right


@pytest.mark.parametrize(
    ("text", "n", "told"),
    [
        ("f", 5, "1 hex digits do not hold 5 answers"),
        ("ff", 4, "2 hex digits do not hold 4 answers"),
        ("ff", 7, "after the last of 7"),
    ],
)
def test_digits_that_do_not_fit(text, n, told):
    with pytest.raises(ValueError, match=told):
        unpack(text, n)


def test_the_quickstart_s_numbers():
    """25 and 122 of 159 right, 100 gained and 3 lost: what `eval --base` printed."""
    base = [True] * 22 + [True] * 3 + [False] * 100 + [False] * 34
    trained = [True] * 22 + [False] * 3 + [True] * 100 + [False] * 34
    one, other = measured(base, 0.95), measured(trained, 0.95)
    assert [round(100 * share, 1) for share in (one.value, *one.interval)] == [15.7, 10.9, 22.2]
    assert [round(100 * share, 1) for share in (other.value, *other.interval)] == [76.7, 69.6, 82.6]
    gap = difference(base, trained, 0.95)
    assert (gap.gained, gap.lost) == (100, 3)
    assert [round(100 * share, 1) for share in (gap.value, *gap.interval)] == [61.0, 52.3, 68.6]


def test_where_another_seed_is_expected():
    assert expected([0.5], (0.4, 0.6), 0.95) == (0.4, 0.6)
    # three seeds: t(2) = 4.3027, sd = 0.02, times sqrt(4/3)
    low, high = expected([0.48, 0.50, 0.52], (0.0, 1.0), 0.95)
    half = 4.302652729749464 * 0.02 * math.sqrt(4 / 3)
    assert (low, high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert expected([0.0, 1.0], (0.0, 1.0), 0.95) == (0.0, 1.0)

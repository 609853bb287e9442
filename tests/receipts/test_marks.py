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
    """23 and 126 of 159 right, 105 gained and 2 lost: what `eval --base` printed."""
    base = [True] * 21 + [True] * 2 + [False] * 105 + [False] * 31
    trained = [True] * 21 + [False] * 2 + [True] * 105 + [False] * 31
    one, other = measured(base, 0.95), measured(trained, 0.95)
    assert [round(100 * share, 1) for share in (one.value, *one.interval)] == [14.5, 9.8, 20.8]
    assert [round(100 * share, 1) for share in (other.value, *other.interval)] == [79.2, 72.3, 84.8]
    gap = difference(base, trained, 0.95)
    assert (gap.gained, gap.lost) == (105, 2)
    assert [round(100 * share, 1) for share in (gap.value, *gap.interval)] == [64.8, 56.4, 72.0]


def test_where_another_seed_is_expected():
    assert expected([0.5], (0.4, 0.6), 0.95) == (0.4, 0.6)
    # three seeds: t(2) = 4.3027, sd = 0.02, times sqrt(4/3)
    low, high = expected([0.48, 0.50, 0.52], (0.0, 1.0), 0.95)
    half = 4.302652729749464 * 0.02 * math.sqrt(4 / 3)
    assert (low, high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert expected([0.0, 1.0], (0.0, 1.0), 0.95) == (0.0, 1.0)

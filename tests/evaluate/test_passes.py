"""pass@k against brute force."""

import itertools
from fractions import Fraction

import pytest

from grpokit.evaluate.passes import pass_at_k


def test_pass_at_k_is_the_share_of_draws_that_hold_a_correct_answer():
    for n in range(1, 9):
        for correct in range(n + 1):
            marks = [i < correct for i in range(n)]
            for k in range(1, n + 1):
                draws = [any(draw) for draw in itertools.combinations(marks, k)]
                assert pass_at_k(n, correct, k) == pytest.approx(
                    float(Fraction(sum(draws), len(draws))), abs=1e-12
                ), (n, correct, k)


def test_pass_at_k_of_many_answers():
    """Binomials of these overflow a float; 1 - 190 199 .. / 200 .. by hand for k = 1."""
    assert pass_at_k(10_000, 25, 1) == pytest.approx(0.0025)
    assert pass_at_k(10_000, 25, 5_000) == pytest.approx(1.0, abs=1e-7)
    assert 0 < pass_at_k(10_000, 1, 64) == pytest.approx(0.0064)


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_what_cannot_be_told_is_refused(n, correct, k):
    with pytest.raises(ValueError, match=r"pass@|correct of"):
        pass_at_k(n, correct, k)

"""The sign-flip test: equal to its definition, to McNemar's test, and right about its level."""

import itertools
import random

import pytest

from grpokit.evaluate import flips
from grpokit.evaluate.flips import sign_flip
from grpokit.evaluate.intervals import mcnemar_exact

CASES = [
    [3, -1, 2, 0, 2],
    [1, 1, 1, -1],
    [4, 4, -4, 1, 1, 1, -2],
    [5],
    [2, -2],
    [-3, -2, -1, -1, -1],
]


def by_definition(gaps: list[int]) -> float:
    ways = [
        abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(gaps))
    ]
    return sum(way >= abs(sum(gaps)) for way in ways) / len(ways)


@pytest.mark.parametrize("gaps", CASES)
def test_it_counts_every_way_to_choose_signs(gaps):
    assert sign_flip(gaps) == pytest.approx(by_definition(gaps), abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(9, 2), (0, 5), (40, 21), (7, 7), (0, 0), (1, 0)])
def test_with_one_answer_a_question_it_is_mcnemars_test(gained, lost):
    gaps = [1] * gained + [-1] * lost + [0] * 30
    assert sign_flip(gaps) == pytest.approx(mcnemar_exact(gained, lost), rel=1e-9)


@pytest.mark.parametrize("gaps", [[3, -1, 2, 2, 4, -1, 3] * 6, [1] * 30 + [-1] * 22, [2, -2] * 20])
def test_draws_agree_with_counting(gaps, monkeypatch):
    exact = sign_flip(gaps)
    monkeypatch.setattr(flips, "EXACT", 0)
    drawn = sign_flip(gaps)
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / flips.DRAWS) ** 0.5 + 1e-4)
    assert drawn == sign_flip(gaps)  # the same every time


def test_a_difference_that_no_draw_reaches_is_not_certain():
    assert sign_flip([16] * 2000) == pytest.approx(1 / (1 + flips.DRAWS))


def test_it_refuses_equal_models_as_often_as_it_may():
    """Two thousand pairs of equal models, eight answers to each of 40 questions."""
    source = random.Random(3)
    refused = 0
    for _ in range(2000):
        gaps = []
        for _ in range(40):
            hard = source.betavariate(0.8, 0.8)
            one, two = (sum(source.random() < hard for _ in range(8)) for _ in range(2))
            gaps.append(two - one)
        refused += sign_flip(gaps) < 0.05
    assert 0.03 < refused / 2000 < 0.06

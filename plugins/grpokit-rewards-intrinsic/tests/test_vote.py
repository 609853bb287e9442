"""majority-vote: who wins, and where nobody does."""

from __future__ import annotations

import pytest


def boxed(*answers: str | None) -> list[str]:
    return ["none" if answer is None else f"\\boxed{{{answer}}}" for answer in answers]


def values(scores):
    return [None if score is None else score.value for score in scores]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("5", "5", "6"), [1, 1, 0]),
        (("6", None, "5", "5"), [0, 0, 1, 1]),
        (("1/2", "0.5", "\\frac{1}{2}", "3", "3"), [1, 1, 1, 0, 0]),
        ((None, None, "7"), [0, 0, 1]),
        (("5", "6"), [None, None]),
        (("5", "5", "6", "6", "7"), [None] * 5),
        ((None, None), [None, None]),
        (("5",), [None]),
        (("5", "5", "5"), [1, 1, 1]),
    ],
)
def test_votes(build, answers, expected):
    assert values(build("majority-vote")(boxed(*answers))) == expected


def test_a_tie_can_go_to_the_first(build):
    score = build("majority-vote", tie="first")
    assert values(score(boxed("7", "5", "6", "6", "5"))) == [0, 1, 0, 0, 1]


def test_a_winner_can_need_a_share(build):
    score = build("majority-vote", at_least=0.5)
    assert values(score(boxed("5", "5", "6", "7"))) == [1, 1, 0, 0]
    assert values(score(boxed("5", "5", "6", "7", "8"))) == [None] * 5


def test_the_share_is_measured(build):
    scores = build("majority-vote")(boxed("5", "5", "6", None))
    assert scores[0].components == {"share": 0.5, "tied": 0.0}


def test_order_changes_nothing(build):
    score = build("majority-vote")
    texts = boxed("1/2", "3", "0.5", None, "3", "3")
    straight = values(score(texts))
    assert straight == values(score(texts[::-1]))[::-1]

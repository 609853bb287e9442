"""maj@k against all orders of all draws, one by one."""

import itertools
import random
from collections import Counter
from fractions import Fraction

import pytest

from grpokit.evaluate import votes
from grpokit.evaluate.votes import Ballot, ballot_of, majority_at_k


def by_hand(answers, k):
    """In each order of each draw the answer with most votes wins, of several the one that came first."""
    verdicts = {}
    for text, right in answers:
        verdicts.setdefault(text, right)
    won = []
    for draw in itertools.permutations(answers, k):
        count = Counter(text for text, _ in draw if text is not None)
        top = max(count.values(), default=0)
        first = next((text for text, _ in draw if text is not None and count[text] == top), None)
        won.append(first is not None and verdicts[first])
    return Fraction(sum(won), len(won))


@pytest.mark.parametrize("seed", range(25))
def test_it_is_the_mean_over_all_draws_and_orders(seed):
    source = random.Random(seed)
    n = source.randint(1, 7)
    said = [source.choice(["a", "b", "c", "d", None]) for _ in range(n)]
    answers = [(text, text in ("a", "d")) for text in said]  # two texts that are both right
    for k in range(1, min(n, 6) + 1):
        value, exact = majority_at_k(ballot_of(answers), k)
        assert exact
        assert value == pytest.approx(float(by_hand(answers, k)), abs=1e-12)


def test_golden_numbers():
    ballot = ballot_of([("7", True)] * 3 + [("8", False)] * 2 + [("9", False)])
    assert majority_at_k(ballot, 1) == (0.5, True)
    assert majority_at_k(ballot, 2) == (0.5, True)  # two that differ are a tie
    assert majority_at_k(ballot, 3)[0] == pytest.approx(
        0.6
    )  # of 20 draws it wins 10, and a third of 6
    assert majority_at_k(ballot, 6) == (1.0, True)
    assert not ballot.tied


def test_who_says_nothing_has_no_vote_and_cannot_win():
    ballot = ballot_of([(None, False)] * 5 + [("7", True)])
    assert majority_at_k(ballot, 6) == (1.0, True)
    assert majority_at_k(ballot, 1)[0] == pytest.approx(1 / 6)
    assert majority_at_k(ballot_of([(None, False)] * 4), 4) == (0.0, True)
    assert not ballot_of([(None, False)] * 4).tied


def test_a_tie_is_split_and_counted():
    ballot = ballot_of([("7", True), ("8", False), ("9", False), ("9", False), ("7", True)])
    assert ballot.tied
    assert majority_at_k(ballot, 5) == (0.5, True)


def test_one_answer_with_two_verdicts_keeps_the_first_and_is_counted():
    ballot = ballot_of([("7", True), ("7", False), ("8", False)])
    assert ballot == Ballot(right=(2,), wrong=(1,), disputed=1)
    assert majority_at_k(ballot, 3) == (1.0, True)


def test_of_very_many_answers_draws_stand_for_all(monkeypatch):
    ballot = Ballot(right=(9, 2), wrong=(6, 4, 2, 1, 1), silent=3)
    exact = [majority_at_k(ballot, k)[0] for k in (1, 4, 8)]
    monkeypatch.setattr(votes, "COST", 0)
    votes._majority.cache_clear()
    drawn = [majority_at_k(ballot, k) for k in (1, 4, 8)]
    votes._majority.cache_clear()
    assert [value for value, _ in drawn] == pytest.approx(exact, abs=0.05)
    assert not any(all_draws for _, all_draws in drawn)
    many = Ballot(right=(200,) * 2, wrong=(100,) * 6, silent=24)
    assert majority_at_k(many, 512) == (1.0, False)


def test_more_than_there_are_cannot_be_asked():
    with pytest.raises(ValueError, match="maj@3 of 2 answers"):
        majority_at_k(Ballot(right=(1,), wrong=(1,)), 3)

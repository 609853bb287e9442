"""Lengths, repetition, words and thinking of answers."""

import pytest

from grpokit.evaluate.texts import lengths, thinks, unclosed, word_rates
from grpokit.scoring.repeats import repetition


def test_lengths_by_rank():
    assert lengths([]) is None
    assert lengths([7]) == {"mean": 7, "median": 7, "p95": 7, "most": 7}
    found = lengths(range(1, 101))
    assert found == {"mean": 50.5, "median": 50, "p95": 95, "most": 100}
    assert lengths([9, 1, 1, 1])["median"] == 1


def test_repetition_is_the_share_of_runs_of_four_words_seen_before():
    assert repetition("") == repetition("a b c") == repetition("a b c d") == 0.0
    assert repetition("a b c d e f g h") == 0.0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)  # five runs, the last one again
    assert repetition("wait, no. " * 50) > 0.95


def test_words_with_a_capital_count_as_written_and_others_in_any_case():
    texts = ["Wait. Now, wait: let me check. Nowhere", "Let me check now; Wait-", "no"]
    found = word_rates(["Wait", "Now", "let me check", "Hmm"], texts, 50)
    assert {word: each["count"] for word, each in found.items()} == {
        "Wait": 2,
        "Now": 1,
        "let me check": 2,
        "Hmm": 0,
    }
    assert found["Wait"] == {"count": 2, "per_1000_tokens": 40.0, "share": 2 / 3}
    assert word_rates(["a+b"], ["a+b (a+b)"], 10)["a+b"]["count"] == 2
    assert word_rates(["Wait"], [], 0)["Wait"] == {"count": 0, "per_1000_tokens": 0.0, "share": 0.0}


def test_thinking_that_is_open():
    assert thinks("<think>a</think>b")
    assert not unclosed("<think>a</think>b")
    assert unclosed("<think>a")
    assert not unclosed("a</think>b")  # the prompt opened it
    assert not thinks("a")

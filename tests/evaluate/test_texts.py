"""Lengths and repetition of answers."""

import pytest

from grpokit.evaluate.texts import lengths
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

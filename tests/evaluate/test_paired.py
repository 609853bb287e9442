"""Verdicts follow the interval, flips are named, and unlike items are not paired."""

import pytest

from grpokit.errors import PreflightError
from grpokit.evaluate.paired import compare


def outcome(n, right):
    return {f"item-{i}": i in right for i in range(n)}


def test_improved_only_above_zero():
    found = compare(outcome(100, range(10)), outcome(100, range(25)))
    assert found.difference == pytest.approx(0.15)
    assert found.interval[0] > 0
    assert found.verdict == found.sentence == "improved"
    assert found.gained == tuple(f"item-{i}" for i in range(10, 25))
    assert found.lost == ()
    assert found.p < 0.001


def test_worse_and_both_kinds_of_flips():
    found = compare(outcome(100, range(30)), outcome(100, range(28, 33)))
    assert found.verdict == "worse"
    assert len(found.lost) == 28
    assert found.gained == ("item-30", "item-31", "item-32")


def test_a_small_gain_is_no_detectable_change_and_says_what_would_be():
    found = compare(outcome(200, range(100)), outcome(200, [*range(6, 114)]))
    assert found.difference == pytest.approx(0.04)
    assert found.interval[0] < 0 < found.interval[1]
    assert found.sentence == "no detectable change (smallest detectable: 6.3 points)"


def test_identical_answers_are_no_proof_of_equality():
    found = compare(outcome(25, range(5)), outcome(25, range(5)))
    assert found.p == 1.0
    assert found.interval[0] < -0.1 < 0.1 < found.interval[1]
    assert found.detectable > 0.1
    assert "no detectable change" in found.verdict


def test_different_items_are_refused():
    with pytest.raises(PreflightError, match="1 only in the first, 2 only in the second") as caught:
        compare({"a": True, "b": True}, {"a": True, "c": False, "d": True})
    assert caught.value.remedy


def test_nothing_compared():
    found = compare({}, {})
    assert found.interval == (-1.0, 1.0)
    assert found.verdict == "no detectable change"
    assert found.as_dict()["verdict"] == found.verdict

"""Brier score, ECE and AUROC against loops that do what the definitions say."""

import random

import pytest

from grpokit.evaluate.calibration import BINS, auroc, brier, calibration, ece, reliability


def drawn(seed, n=200):
    source = random.Random(seed)
    said = [source.choice([0.0, 0.1, 0.5, 0.9, 1.0, source.random()]) for _ in range(n)]
    return [(value, source.random() < value**2) for value in said]


def slow_auroc(pairs):
    wins = [
        1.0 if right > wrong else 0.5 if right == wrong else 0.0
        for right, good in pairs
        if good
        for wrong, other in pairs
        if not other
    ]
    return sum(wins) / len(wins)


def slow_ece(pairs):
    total = 0.0
    for at in range(BINS):
        low, high, last = at / BINS, (at + 1) / BINS, at == BINS - 1
        held = [pair for pair in pairs if low <= pair[0] < high or (last and pair[0] == 1)]
        if held:
            said = sum(value for value, _ in held) / len(held)
            right = sum(good for _, good in held) / len(held)
            total += len(held) / len(pairs) * abs(said - right)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_all_three_are_what_their_definitions_say(seed):
    pairs = drawn(seed)
    assert auroc(pairs) == pytest.approx(slow_auroc(pairs))
    assert ece(pairs) == pytest.approx(slow_ece(pairs))
    assert brier(pairs) == pytest.approx(sum((q - c) ** 2 for q, c in pairs) / len(pairs))


def test_golden_numbers():
    pairs = [(0.9, True), (0.9, True), (0.9, False), (0.2, False), (0.2, True), (0.2, False)]
    assert brier(pairs) == pytest.approx((0.01 + 0.01 + 0.81 + 0.04 + 0.64 + 0.04) / 6)
    assert ece(pairs) == pytest.approx((3 * abs(0.9 - 2 / 3) + 3 * abs(0.2 - 1 / 3)) / 6)
    assert auroc(pairs) == pytest.approx(6 / 9)  # 4 pairs won, 4 tied, 1 lost


def test_a_perfect_and_a_boastful_model():
    perfect = [(1.0, True)] * 5 + [(0.0, False)] * 5
    assert (brier(perfect), ece(perfect), auroc(perfect)) == (0.0, 0.0, 1.0)
    boastful = [(1.0, False)] * 4
    assert (brier(boastful), ece(boastful), auroc(boastful)) == (1.0, 1.0, None)
    undecided = [(0.5, True), (0.5, False)]
    assert (brier(undecided), ece(undecided), auroc(undecided)) == (0.25, 0.0, 0.5)


def test_bins_say_how_many_they_hold():
    found = reliability([(0.0, False), (1.0, True), (0.99, False), (0.5, True)])
    assert [held["answers"] for held in found] == [1, 1, 2]
    assert found[-1]["accuracy"] == 0.5
    assert found[-1]["to"] == 1.0


def test_everything_together_with_an_interval_over_questions():
    pairs = drawn(3, 300)
    found = calibration([pairs[at : at + 3] for at in range(0, 300, 3)] + [[]])
    assert found["answers"] == 300
    assert found["ece"] == ece(pairs)
    low, high = found["ece_interval"]
    assert low < high
    assert 0 <= low < found["ece"] + 0.05
    assert sum(held["answers"] for held in found["bins"]) == 300
    assert calibration([[], []]) is None


def test_bins_of_equal_mass_hold_equal_confidences_together():
    # 15 bins of 10 answers each: with 150 different confidences each bin is off by its own gap.
    pairs = [(at / 150, at % 10 < 5) for at in range(150)]
    held = [pairs[at : at + 10] for at in range(0, 150, 10)]
    wanted = sum(abs(sum(q - c for q, c in group)) for group in held) / 150
    assert calibration([pairs])["ece_equal_mass"] == pytest.approx(wanted)
    assert calibration([[(0.5, True)] * 40 + [(0.5, False)] * 40])["ece_equal_mass"] == 0.0

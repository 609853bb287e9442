"""Intervals of means of shares: what they reduce to, what widens them, and how often they are right."""

import itertools
import random
from statistics import fmean

import pytest

from grpokit.evaluate.intervals import paired_difference, wilson
from grpokit.evaluate.means import difference_interval, effective_size, share_interval

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def test_one_answer_a_question_is_wilson_and_tango():
    right = [1.0] * 37 + [0.0] * 63
    assert share_interval(right) == wilson(37, 100)
    other = [0.0] * 10 + [1.0] * 60 + [0.0] * 30
    lost, gained = 10, 33
    assert difference_interval(right, other) == pytest.approx(
        paired_difference(gained, lost, 100), abs=1e-12
    )
    assert share_interval([]) == (0.0, 1.0)
    assert difference_interval([], []) == (-1.0, 1.0)


def test_equal_shares_keep_a_width():
    """No questions but the ones seen are known: never +-0."""
    for shares in ([0.0] * 25, [1.0] * 25, [0.5] * 25):
        low, high = share_interval(shares, samples=4)
        assert high - low > 0.05
    assert share_interval([0.0] * 25, samples=4) == wilson(0, 25)
    low, high = difference_interval([0.25] * 25, [0.25] * 25, samples=4)
    assert low < -0.1
    assert high > 0.1


def test_answers_of_equally_hard_questions_count_each():
    """Without differences between questions, 50 x 8 answers tell nearly what 400 do."""
    source = random.Random(1)
    shares = [sum(source.random() < 0.4 for _ in range(8)) / 8 for _ in range(2000)]
    assert effective_size(shares, samples=8) == pytest.approx(16_000, rel=0.1)
    sure = [float(source.random() < 0.4) for _ in range(2000)]
    assert effective_size(sure, samples=8) == pytest.approx(2000, rel=0.01)


def test_clusters_that_agree_count_once():
    source = random.Random(2)
    heads = [float(source.random() < 0.4) for _ in range(300)]
    shares = [each for each in heads for _ in range(5)]
    clusters = [number for number in range(300) for _ in range(5)]
    alone = wilson(round(sum(heads)), 300)
    assert share_interval(shares, clusters=clusters) == pytest.approx(alone, abs=2e-3)
    other = [1 - each if index % 7 == 0 else each for index, each in enumerate(heads)]
    spread = [each for each in other for _ in range(5)]
    found = difference_interval(shares, spread, clusters=clusters)
    assert found == pytest.approx(difference_interval(heads, other), abs=2e-3)
    assert share_interval([1.0] * 1500, clusters=clusters) == pytest.approx(wilson(300, 300))


@pytest.mark.parametrize(
    ("shares", "clusters"), [([0.5, 1.5], None), ([0.5, -0.1], None), ([0.5, 0.5], [1])]
)
def test_what_is_no_share_is_refused(shares, clusters):
    with pytest.raises(ValueError, match=r"share|argument 2|shorter"):
        share_interval(shares, clusters=clusters)


def simulated(source: random.Random, n: int, samples: int, mean: float) -> list[float]:
    """Questions of unequal difficulty: Beta(2 mean, 2 (1 - mean))."""
    found = []
    for _ in range(n):
        hard = source.betavariate(2 * mean, 2 * (1 - mean))
        found.append(sum(source.random() < hard for _ in range(samples)) / samples)
    return found


@pytest.mark.parametrize(("n", "runs"), [(20, 800), (100, 300), (2000, 20)])
@pytest.mark.parametrize("samples", [1, 4, 16])
def test_intervals_of_accuracy_hold_the_truth_as_often_as_they_say(n, runs, samples):
    """Over accuracies from 1 to 99 %. One answer a question is a whole number of right ones, which lets the
    coverage of no interval be even: it is a mean over accuracies.
    """
    source = random.Random(n * samples)
    found = []
    for mean in LEVELS:
        for _ in range(runs):
            low, high = share_interval(simulated(source, n, samples, mean), samples=samples)
            found.append(low <= mean <= high)
    covered = fmean(found)
    assert 0.94 <= covered <= 0.97


def test_intervals_of_differences_hold_the_truth_as_often_as_they_say():
    source = random.Random(5)
    found = []
    for n, mean, gap in itertools.product((40, 200), (0.1, 0.5, 0.8), (0.0, 0.1)):
        for _ in range(150):
            first, second = [], []
            for _ in range(n):
                hard = source.betavariate(2 * mean, 2 * (1 - mean))
                better = hard + (1 - hard) * gap / (1 - mean)
                first.append(sum(source.random() < hard for _ in range(4)) / 4)
                second.append(sum(source.random() < better for _ in range(4)) / 4)
            low, high = difference_interval(first, second, samples=4)
            found.append(low <= gap <= high)
    covered = fmean(found)
    assert 0.94 <= covered <= 0.97

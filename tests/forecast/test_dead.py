"""The chance of a dead group: against counting all groups, against the loop, and on the mean."""

import random
from itertools import combinations
from math import comb

import pytest

from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.forecast.dead import beyond, dead_share, live_band, signal
from grpokit.scoring.totals import classes


def dead(group):
    known = [value for value in group if value is not None]
    return not known or max(known) - min(known) <= 1e-12 * max(1.0, *map(abs, known))


def counted(totals, size):
    groups = list(combinations(totals, size))
    return sum(map(dead, groups)) / len(groups)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_share_among_all_groups(seed):
    lot = random.Random(seed)
    values = [
        [0.0, 1.0],
        [0.0, 0.1, 1.0],
        [0.3, 0.1 + 0.2, 1.0],
        [0.0, None, 1.0],
        [None, None, 0.5],
    ]
    totals = [lot.choice(values[seed % 5]) for _ in range(9)]
    for size in (1, 2, 4, 8, 9):
        assert dead_share(totals, size) == pytest.approx(counted(totals, size), abs=1e-12)


def test_part_of_the_completions():
    totals = [1.0] * 5 + [0.0] * 4
    right, wrong = dead_share([1.0] * 5, 4, whole=9), dead_share([0.0] * 4, 4, whole=9)
    assert right == comb(5, 4) / comb(9, 4)
    assert right + wrong == pytest.approx(dead_share(totals, 4))
    assert dead_share([], 4, whole=9) == 0


def test_fewer_completions_than_a_group_are_refused():
    with pytest.raises(ValueError, match="8 completions tell nothing of groups of 16"):
        dead_share([0.0] * 8, 16)


def test_totals_that_differ_by_rounding_are_equal():
    assert classes([0.1 + 0.2, 0.3, 1.0, None]) == ([2, 1], 1)
    assert classes([1e6, 1e6 + 1e-8]) == ([2], 0)
    assert classes([0.0, 1e-9]) == ([1, 1], 0)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("group", [2, 4, 8])
def test_its_mean_is_the_chance(p, group):
    """Exactly: over all counts of right answers that n samples can have."""
    n = 9
    mean = naive = 0.0
    for right in range(n + 1):
        chance = comb(n, right) * p**right * (1 - p) ** (n - right)
        mean += chance * dead_share([1.0] * right + [0.0] * (n - right), group)
        naive += chance * ((right / n) ** group + (1 - right / n) ** group)
    truth = p**group + (1 - p) ** group
    assert mean == pytest.approx(truth, abs=1e-12)
    assert naive > truth + 0.001


def test_the_loop_calls_the_same_groups_dead(scored_groups):
    """`dead_groups` of a run is the mean of ``dead_P`` of the algorithm."""
    rollout, scores = scored_groups
    said = build(GrpoConfig()).advantages(rollout, scores).dead_P.tolist()
    assert said == [dead_share(totals, len(totals)) == 1 for totals in scores.total]
    assert 0.2 < sum(said) / len(said) < 0.9


@pytest.mark.parametrize("shape", [(1.0, 1.0), (0.2, 3.0), (4.0, 0.5), (0.05, 0.05)])
def test_bounds_of_larger_groups_hold(shape):
    lot = random.Random(7)
    rates = [lot.betavariate(*shape) for _ in range(400)]
    truth = {g: sum(p**g + (1 - p) ** g for p in rates) / 400 for g in (8, 16, 32, 64)}
    for size in (32, 64):
        low, high = beyond({8: truth[8], 16: truth[16]}, size)
        assert low <= truth[size] <= high
    assert beyond({8: 0.0, 16: 0.0}, 32) == (0.0, 0.0)
    assert beyond({}, 32) == (0.0, 1.0)


def test_the_band_of_live_groups():
    for group in (4, 8, 16, 32):
        low, high = live_band(group)
        assert low**group + (1 - low) ** group == pytest.approx(0.5)
        assert low + high == pytest.approx(1)
    assert live_band(8)[0] == pytest.approx(0.083, abs=5e-4)


def test_signal_is_the_mean_square_of_z_scores():
    """Groups of right and wrong answers, half of them dead: z-scores over n."""
    import torch

    group = 8
    totals = torch.tensor([[1.0] * 3 + [0.0] * 5, [0.0] * 8])
    centred = totals - totals.mean(-1, keepdim=True)
    z = centred / (centred.square().sum(-1, keepdim=True) / group).sqrt().clamp(min=1e-9)
    assert z.square().mean() * (1 - 1 / group) == pytest.approx(signal(0.5, group))

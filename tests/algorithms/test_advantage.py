from __future__ import annotations

import math

import pytest
import torch

from grpokit.algorithms import group_centred, group_zscore


def zscore(rewards, valid=None, **settings):
    totals_PG = torch.tensor([rewards], dtype=torch.float64)
    valid_PG = torch.ones_like(totals_PG, dtype=torch.bool)
    if valid is not None:
        valid_PG = torch.tensor([valid])
    return group_zscore(totals_PG, valid_PG, **settings)[0].tolist()


EIGHT = [1.0, 0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("settings", "high", "low"),
    [
        ({}, 1.619835, -0.539945),
        ({"std_ddof": 1, "std_eps": 1e-4}, 1.619835, -0.539945),
        ({"std_ddof": 0, "std_eps": 0.0}, 1.732051, -0.577350),
    ],
)
def test_two_of_eight(settings, high, low):
    expected = [high if reward else low for reward in EIGHT]
    assert zscore(EIGHT, **settings) == pytest.approx(expected, abs=1e-6)


def test_centred():
    totals_PG = torch.tensor([EIGHT], dtype=torch.float64)
    advantages = group_centred(totals_PG, torch.ones(1, 8, dtype=torch.bool))[0].tolist()
    assert advantages == [0.75 if reward else -0.25 for reward in EIGHT]


@pytest.mark.parametrize(
    ("correct", "high", "low"),
    [
        (1, 2.645751, -0.377964),
        (2, 1.732051, -0.577350),
        (4, 1.0, -1.0),
        (7, 0.377964, -2.645751),
    ],
)
def test_binary_closed_form(correct, high, low):
    """A+ = sqrt((1 - p) / p), A- = -sqrt(p / (1 - p)) with the population's deviation."""
    advantages = zscore([1.0] * correct + [0.0] * (8 - correct), std_ddof=0, std_eps=0.0)
    assert advantages == pytest.approx([high] * correct + [low] * (8 - correct), abs=1e-6)
    p = correct / 8
    assert advantages[0] == pytest.approx(math.sqrt((1 - p) / p))


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3, -7.3, 1e9])
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("eps", [0.0, 1e-4])
def test_equal_totals_give_exactly_zero(reward, ddof, eps):
    assert zscore([reward] * 7, std_ddof=ddof, std_eps=eps) == [0.0] * 7


def test_totals_equal_up_to_rounding_give_exactly_zero():
    assert 0.1 + 0.2 != 0.3
    assert zscore([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2], std_eps=0.0) == [0.0] * 4


@pytest.mark.parametrize("ddof", [0, 1])
def test_group_of_one_gives_zero(ddof):
    assert zscore([3.0], std_ddof=ddof, std_eps=0.0) == [0.0]


def test_abstention_leaves_the_statistics():
    valid = [True, True, False, True, True]
    advantages = zscore([1.0, 0.0, 99.0, 0.0, 1.0], valid)
    without = zscore([1.0, 0.0, 0.0, 1.0])
    assert advantages[2] == 0.0
    assert advantages[:2] + advantages[3:] == without


def test_group_with_one_valid_completion_or_none():
    assert zscore([1.0, 5.0, 7.0], [False, True, False], std_eps=0.0) == [0.0] * 3
    assert zscore([1.0, 5.0, 7.0], [False] * 3, std_eps=0.0) == [0.0] * 3


def test_groups_do_not_touch_each_other():
    totals_PG = torch.tensor([[1.0, 0, 0, 0], [5.0, 9, 2, 2]], dtype=torch.float64)
    valid_PG = torch.ones(2, 4, dtype=torch.bool)
    both = group_zscore(totals_PG, valid_PG)
    for p in range(2):
        alone = group_zscore(totals_PG[p : p + 1], valid_PG[p : p + 1])
        assert torch.equal(both[p : p + 1], alone)

"""Totals by length: golden numbers, what abstains, what stands on what."""

from __future__ import annotations

import pytest
import torch

from grpokit.algorithms.aggregate import power_scores
from grpokit.algorithms.shaping import (
    CosineLength,
    Cycle,
    Overlong,
    StopProperly,
    cosine_scores,
    overlong_penalty,
)
from grpokit.errors import ComponentError
from tables import rollout_of, scores_of


def test_golden_overlong() -> None:
    lengths_PG = torch.tensor([[1, 80, 85, 90, 100, 101]])
    expected = [[0.0, 0.0, -0.25, -0.5, -1.0, -1.0]]
    assert overlong_penalty(lengths_PG, 100, 20).tolist() == expected


def test_golden_cosine() -> None:
    lengths_PG = torch.tensor([[0, 500, 1000], [0, 500, 1000]])
    correct_PG = torch.tensor([[True] * 3, [False] * 3])
    expected = torch.tensor([[1.0, 0.75, 0.5], [-1.0, -0.75, -0.5]], dtype=torch.float64)
    torch.testing.assert_close(cosine_scores(lengths_PG, correct_PG, 1000), expected)


def test_overlong_is_added_to_the_total_and_leaves_abstentions_alone() -> None:
    rollout = rollout_of([[80, 90, 100, 100]])
    totals_PG, valid_PG = Overlong(20, 0.5)(scores_of([[1.0, 1.0, 0.0, None]]), rollout)
    assert totals_PG.tolist() == [[1.0, 0.75, -0.5, 0.0]]
    assert valid_PG.tolist() == [[True, True, True, False]]


def test_a_cache_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ComponentError, match="begins 101 tokens before the limit, which is 100"):
        Overlong(101)(scores_of([[1.0]]), rollout_of([[5]]))
    scores = scores_of([[0.0, 0.0]])
    assert Overlong()(scores, rollout_of([[80, 90]]))[0].tolist() == [[0.0, -0.5]]
    Overlong(100)(scores_of([[1.0]]), rollout_of([[5]]))


def test_cosine_adds_by_a_named_reward() -> None:
    rollout = rollout_of([[0, 0, 0, 0]])
    scores = scores_of([[2.0, 0.0, 1.0, None]], right=[[1.0, 0.0, None, 1.0]])
    totals_PG, valid_PG = CosineLength(metric="right", weight=2.0)(scores, rollout)
    assert totals_PG.tolist() == [[4.0, -2.0, 1.0, 0.0]]
    assert valid_PG.tolist() == [[True, True, True, False]]
    with pytest.raises(ComponentError, match="`wrong`, which does not exist") as caught:
        CosineLength(metric="wrong")(scores, rollout)
    assert "right" in caught.value.remedy


def test_cosine_acts_in_cycles() -> None:
    cycle = Cycle(start=3, on=2, off=1)
    assert [step for step in range(1, 12) if cycle(step)] == [3, 4, 6, 7, 9, 10]
    assert all(Cycle()(step) for step in range(1, 5))
    part = CosineLength(active=cycle)
    totals = [
        part(scores_of([[1.0]]), rollout_of([[0]], step=step))[0].item() for step in range(2, 7)
    ]
    assert totals == [1.0, 2.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("coefficient", "expected"), [(0.0, 0.0), (0.5, 1.0), (1.0, 2.0), (-0.5, -0.5)]
)
def test_stop_properly(coefficient: float, expected: float) -> None:
    scores = scores_of([[2.0, 2.0, None]])
    totals_PG, _ = StopProperly(coefficient)(scores, rollout_of([[99, 100, 100]]))
    assert totals_PG.tolist() == [[2.0, expected, 0.0]]


def test_parts_stand_on_one_another() -> None:
    part = StopProperly(0.5, base=Overlong(20, base=power_scores))
    totals_PG, _ = part(scores_of([[2.0, 2.0]]), rollout_of([[90, 100]]))
    assert totals_PG.tolist() == [[15.5, 7.5]]

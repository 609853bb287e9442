"""Which completions of a group train: golden values, and what the pruned ones still do."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from grpokit.algorithms import advantage_parts as parts
from grpokit.algorithms.advantage_config import TopKConfig
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.select import kept_rows, top_k
from grpokit.spec.flow import Advantages, Completion, Prompt, Rollout, Sampling, Scores

LENGTHS = [100, 50, 30, 200, 400, 20]
REWARDS = [1.0, 1, 0, 0, 1, 0]


def make_rollout(*groups):
    """Completions of the given lengths."""
    completions = tuple(
        tuple(Completion(token_ids=(5,) * n, text="", finish="stop") for n in lengths)
        for lengths in groups
    )
    prompts = tuple(Prompt(id=str(p), index=p, messages=(), row={}) for p in range(len(groups)))
    return Rollout(
        prompts=prompts,
        prompt_ids=((1,),) * len(groups),
        completions=completions,
        sampling=Sampling(group=len(groups[0]), max_tokens=512),
    )


def make_scores(*groups):
    return Scores(rewards={}, components={}, total=[list(group) for group in groups])


def no_advantages():
    return Advantages(
        advantages_PG=torch.zeros(1, 1),
        valid_PG=torch.ones(1, 1, dtype=torch.bool),
        dead_P=torch.ones(1, dtype=torch.bool),
    )


@pytest.mark.parametrize(
    ("metric", "expected"), [("shortest", {1, 2, 5}), ("efficiency", {0, 1, 4})]
)
def test_golden_choice(metric, expected):
    assert kept_rows(LENGTHS, REWARDS, keep=3, metric=metric) == expected


def test_efficiency_with_totals_below_zero_prefers_long_failures():
    assert kept_rows([10, 100], [-1.0, -1.0], keep=1, metric="efficiency") == {1}


@pytest.mark.parametrize("metric", ["shortest", "efficiency"])
def test_unscored_come_last_and_equals_keep_their_order(metric):
    assert kept_rows([1, 9, 9, 9], [None, 1, 1, 1], keep=2, metric=metric) == {1, 2}
    assert kept_rows([3, 0], [0.0, 1.0], keep=5, metric=metric) == {0, 1}


def test_pruned_rows_keep_their_place_in_the_denominators():
    rollout = make_rollout(LENGTHS, LENGTHS[::-1])
    scores = make_scores(REWARDS, REWARDS[::-1])
    selection = top_k(rollout, scores, no_advantages(), keep=3)
    assert selection.rows == tuple(rollout.rows())
    assert selection.weights == (0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0)
    assert selection.denominator == 12


def test_top_k_in_grpo_trains_the_kept_that_have_an_advantage():
    """A dead group of the part's choice still weighs nothing; the others keep their advantage."""
    algorithm = build(GrpoConfig()).replace("select", parts.top_k(TopKConfig(keep=3)))
    rollout = make_rollout(LENGTHS, LENGTHS)
    scores = make_scores(REWARDS, [1.0] * 6)
    selection = algorithm.select(rollout, scores, algorithm.advantages(rollout, scores))
    assert selection.weights == (0, 1, 1, 0, 0, 1, *[0] * 6)
    assert selection.denominator == 12


@pytest.mark.parametrize("settings", [{"keep": 0}, {"metric": "longest"}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        TopKConfig(**settings)

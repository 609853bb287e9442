"""DAPO, SRPO and POLARIS: what sets them apart from GRPO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from grpokit.algorithms.advantage import group_zscore
from grpokit.algorithms.allocate import DynamicSampling, fixed
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.mask import finished_mask
from grpokit.algorithms.part_config import ZscoreConfig
from grpokit.algorithms.rollout import SamplingStages
from grpokit.algorithms.sampler import OneExample
from grpokit.algorithms.sampler_history import EasyDrop, History
from grpokit.algorithms.shaping import Overlong
from grpokit.algorithms.steered import dapo, polaris, srpo, zscore_stopped
from grpokit.algorithms.steered_config import DapoConfig, PolarisConfig, SrpoConfig
from grpokit.algorithms.step_config import SamplingStage
from grpokit.errors import PreflightError
from grpokit.spec.flow import Gathered, Sampling
from loss_reference import random_inputs, with_gradient
from small_runs import PROMPTS, steps
from tables import rollout_of, scores_of


@pytest.mark.parametrize("algorithm", [dapo(DapoConfig()), polaris(PolarisConfig())])
def test_the_loss_is_that_of_grpo_with_clip_higher_and_the_token_mean(algorithm):
    plain = build(GrpoConfig(epsilon_high=0.28, aggregation="token-mean"))
    sequence = build(GrpoConfig(epsilon_high=0.28))
    apart = 0
    for seed in range(20):
        losses = []
        for each in (algorithm, plain, sequence):
            inputs = with_gradient(random_inputs(seed))
            each.loss(inputs).loss.backward()
            losses.append(inputs.logprobs_NT.grad)
        assert torch.equal(losses[0], losses[1])
        apart += not torch.allclose(losses[0], losses[2])
    assert apart > 10


def test_dapos_settings():
    plain = dapo(DapoConfig())
    assert not plain.needs_reference
    assert isinstance(plain.allocator, DynamicSampling)
    assert (plain.allocator.metric, plain.allocator.rounds.max_rounds) == ("total", 10)
    full = dapo(DapoConfig(metric="right", factor=3.0, overlong_cache=20, mask_truncated=True))
    assert full.mask is finished_mask
    assert full.aggregate == Overlong(20, 1.0)
    assert full.first(512) == 1536
    assert DapoConfig(factor=3.0).asks(prompts=512, max_tokens=7) == (1536, 7)


def test_dapo_shapes_the_total_but_judges_groups_by_their_scores():
    """Two completions of one score and different lengths: the total differs, the group is dropped."""
    algorithm = dapo(DapoConfig(overlong_cache=20))
    rollout = rollout_of([[80, 90]])
    scores = scores_of([[1.0, 1.0]])
    found = algorithm.advantages(rollout, scores)
    assert found.advantages_PG[0, 0] > 0 > found.advantages_PG[0, 1]
    gathered = Gathered(rollout=rollout, scores=scores, advantages=found, wanted=1, rounds=1)
    assert algorithm.allocate(gathered).more == 1


def test_dapo_says_why_a_step_cannot_be_filled(tiny_model_folder: Path):
    torch.set_num_threads(1)
    flat = dapo(DapoConfig(tolerance=9.0, max_rounds=2))
    with pytest.raises(PreflightError, match="after 2 rounds 0 of 8 groups have different values"):
        next(steps(tiny_model_folder, flat, 1))


def test_dapo_fills_its_batch_over_rounds(tiny_model_folder: Path):
    torch.set_num_threads(1)
    algorithm = dapo(DapoConfig(factor=1.5, tolerance=0.08))
    seen = [step.loop.totals for step in steps(tiny_model_folder, algorithm, 3)]
    asked = [totals.questions_seen for totals in seen]
    assert all(count % 6 == 0 for count in asked)
    assert seen[-1].completions_trained <= 3 * PROMPTS * 8
    assert asked[-1] > 3 * 6, "no step took a second round, so nothing was tested"


def test_srpo_gives_truncated_completions_no_advantage_but_counts_them():
    algorithm = srpo(SrpoConfig(threshold=0.5, again_after=7))
    assert algorithm.sampler == History("total", 0.5, 7)
    totals = [[1.0, 0.0, 0.0, 1.0]]
    found = algorithm.advantages(rollout_of([[5, 100, 5, 100]]), scores_of(totals)).advantages_PG
    every = torch.tensor(totals, dtype=torch.float64)
    whole = group_zscore(every, every == every, std_ddof=1, std_eps=1e-4)
    assert found[0].tolist() == pytest.approx([whole[0, 0].item(), 0.0, whole[0, 2].item(), 0.0])
    assert (
        zscore_stopped(ZscoreConfig(std_eps=0.5))(
            every, every == every, rollout_of([[5] * 4])
        ).tolist()
        == group_zscore(every, every == every, std_eps=0.5).tolist()
    )


def test_polaris_has_a_border_before_each_stage():
    stages = [
        SamplingStage(from_=1, temperature=1.4),
        SamplingStage(from_=101, temperature=1.45, max_tokens=20),
        SamplingStage(from_=201, temperature=1.5),
    ]
    config = PolarisConfig(stages=stages, drop_above=0.8, drop_every=30)
    algorithm = polaris(config)
    assert algorithm.sampler == EasyDrop("total", 0.8, 30, frozenset({100, 200}))
    assert isinstance(algorithm.rollout, SamplingStages)
    found = [
        algorithm.sampling(Sampling(group=2, max_tokens=10, step=step))
        for step in (1, 100, 101, 201)
    ]
    assert [(one.temperature, one.max_tokens) for one in found] == [
        (1.4, 10),
        (1.4, 10),
        (1.45, 20),
        (1.5, 20),
    ]
    assert config.asks(prompts=4, max_tokens=10) == (4, 20)
    with pytest.raises(ValidationError, match="a stage from 1 cannot follow one from 101"):
        PolarisConfig(stages=stages[1::-1])


def test_polaris_drops_what_became_easy(tiny_model_folder: Path):
    torch.set_num_threads(1)
    algorithm = polaris(PolarisConfig(drop_above=-1.0, drop_every=2))
    run = steps(tiny_model_folder, algorithm, 3)
    next(run), next(run)
    assert algorithm.state()["sampler"]["dropped"] == list(range(PROMPTS))
    with pytest.raises(PreflightError, match="every row was dropped"):
        next(run)


def test_one_example_is_drawn_anew_for_every_prompt_of_the_step(tiny_model_folder: Path):
    torch.set_num_threads(1)
    seen: list[list[tuple[str, ...]]] = []

    def noted(gathered: Gathered):
        groups = gathered.rollout.completions
        assert {prompt.index for prompt in gathered.rollout.prompts} == {2}
        assert len({prompt.id for prompt in gathered.rollout.prompts}) == PROMPTS
        seen.append([tuple(one.text for one in group) for group in groups])
        return fixed(gathered)

    algorithm = replace(build(GrpoConfig()), sampler=OneExample((2,)), allocator=noted)
    for _ in steps(tiny_model_folder, algorithm, 2):
        pass
    assert all(len(set(groups)) == PROMPTS for groups in seen)
    assert seen[0] != seen[1]

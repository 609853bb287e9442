"""Parts beyond GRPO's nearest relatives agree with verl 0.9.1's real code, on fifty draws each."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from grpokit.algorithms import length_weighted, token_mean
from grpokit.algorithms.token_clip import cov_clip
from loss_draws import DRAWS, check, compose, draw, inputs, ours

core = pytest.importorskip(
    "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0002, 1.0, 5.0), (0.3, -0.2, 2.0)])
def test_clip_cov(monkeypatch, share, low, high):
    """verl draws from the global generator; here it is given the lot of the micro-batch's seed."""
    from verl.workers.config import ActorConfig, PolicyLossConfig

    clip = partial(cov_clip, share=share, low=low, high=high, epsilon=0.2, epsilon_high=0.28)
    algorithm = compose(clip=clip, aggregation=token_mean)
    policy_loss = PolicyLossConfig(clip_cov_ratio=share, clip_cov_lb=low, clip_cov_ub=high)
    config = ActorConfig(
        strategy="fsdp",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        policy_loss=policy_loss,
    )
    randperm = torch.randperm
    drawn = 0
    for seed in DRAWS:
        found = draw(seed)
        lot = partial(randperm, generator=torch.Generator().manual_seed(seed))
        given = dataclasses.replace(inputs(found), seed=seed)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randperm", lot)
            logprobs_NT = found.logprobs_NT.clone().requires_grad_()
            loss, metrics = core.get_policy_loss_fn("clip_cov")(
                old_log_prob=found.old_NT,
                log_prob=logprobs_NT,
                advantages=found.advantages_N[:, None].repeat(1, found.old_NT.shape[-1]),
                response_mask=found.mask_NT,
                loss_agg_mode="token-mean",
                config=config,
            )
        (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
        check(ours(algorithm, given), (loss.detach(), gradient_NT), f"clip-cov, draw {seed}")
        over, under = algorithm.loss(given).sums["covariant"]
        assert float(over / under) == pytest.approx(metrics["actor/pg_clipfrac"], abs=1e-6)
        drawn += int(over)
    assert drawn > 30


def test_length_weighted_baseline():
    """With groups of equal rewards, and no group of one, which keeps its raw reward in verl."""
    dead = 0
    for seed in DRAWS:
        rng = torch.Generator().manual_seed(seed)
        rewards_PG = torch.randint(0, 3, (4, 5), generator=rng).double() / 2
        rewards_PG[seed % 4] = 0.5
        lengths_PG = torch.randint(1, 9, (4, 5), generator=rng)
        mask_NT = (torch.arange(8) < lengths_PG.reshape(-1, 1)).double()
        per_token_NT = torch.zeros(20, 8, dtype=torch.float64)
        per_token_NT[:, 0] = rewards_PG.reshape(-1)
        theirs_NT, _ = core.compute_opo_outcome_advantage(
            per_token_NT, mask_NT, np.repeat(np.arange(4), 5)
        )
        mine_PG = length_weighted(rewards_PG, torch.ones(4, 5, dtype=torch.bool), lengths_PG)
        dead += int((mine_PG == 0).all(-1).sum())
        mine_NT = mine_PG.reshape(-1, 1) * mask_NT
        torch.testing.assert_close(mine_NT, theirs_NT, rtol=1e-12, atol=1e-12)
    assert dead >= 50

"""Relatives of GRPO with another baseline or scale of the advantage."""

from __future__ import annotations

from functools import partial

from grpokit.algorithms import axes
from grpokit.algorithms.advantage import leave_one_out
from grpokit.algorithms.advantage_batch import batch_std, beta_normalised, reinforce_baseline
from grpokit.algorithms.aggregation import sequence_mean, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import clip_of, penalties_of
from grpokit.algorithms.grpo_config import PolicyConfig
from grpokit.algorithms.mask import completion_mask, finished_mask
from grpokit.algorithms.named_config import (
    BnpoConfig,
    LitePpoConfig,
    ReinforceConfig,
    RlooConfig,
)

__all__ = ["bnpo", "lite_ppo", "reinforce_pp", "rloo"]


def rloo(config: RlooConfig) -> Composition:
    """RLOO (arXiv 2402.14740): A_i = r_i - mean of the other completions of the group.

    As in verl an advantage with the token-wise clip; TRL clips the ratio of the whole completion and
    puts the divergence into the reward.
    """
    return _with(config, leave_one_out, sequence_mean)


def reinforce_pp(config: ReinforceConfig) -> Composition:
    """REINFORCE++-baseline (arXiv 2501.03262): less the group's mean, whitened over the batch."""
    advantage = partial(reinforce_baseline, variance_eps=config.variance_eps)
    return _with(config, advantage, token_mean)


def lite_ppo(config: LitePpoConfig) -> Composition:
    """Lite PPO (arXiv 2508.08221): the group's mean, the batch's deviation, the token mean."""
    return _with(config, partial(batch_std, std_eps=config.std_eps), token_mean)


def bnpo(config: BnpoConfig) -> Composition:
    """BNPO (arXiv 2506.02864): the distance from the mean by a Beta density fitted to the batch.

    Not the ``bnpo`` of TRL and Unsloth, which is ``bnpo-trl`` here.
    """
    beta = config.part()
    advantage = partial(
        beta_normalised,
        alpha=beta.alpha,
        beta=beta.beta,
        low=beta.low,
        high=beta.high,
        cap=beta.cap,
    )
    return _with(config, advantage, sequence_mean)


def _with(
    config: PolicyConfig, advantage: axes.Advantage, aggregation: axes.Aggregation
) -> Composition:
    """GRPO's other parts around an advantage."""
    return Composition(
        advantage=advantage,
        clip=clip_of(config),
        mask=finished_mask if config.mask_truncated else completion_mask,
        regulariser=penalties_of(config),
        aggregation=aggregation,
    )

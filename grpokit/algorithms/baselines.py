"""Relatives of GRPO with another baseline or scale of the advantage."""

from __future__ import annotations

from grpokit.algorithms import advantage_parts as parts
from grpokit.algorithms.advantage_config import BetaConfig
from grpokit.algorithms.aggregation import sequence_mean, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import around, clip_of
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
    advantage = parts.rloo_baseline()
    return around(config, advantage=advantage, clip=clip_of(config), aggregation=sequence_mean)


def reinforce_pp(config: ReinforceConfig) -> Composition:
    """REINFORCE++-baseline (arXiv 2501.03262): less the group's mean, whitened over the batch."""
    advantage = parts.reinforce_baseline(config)
    return around(config, advantage=advantage, clip=clip_of(config), aggregation=token_mean)


def lite_ppo(config: LitePpoConfig) -> Composition:
    """Lite PPO (arXiv 2508.08221): the group's mean, the batch's deviation, the token mean."""
    advantage = parts.batch_std(config)
    return around(config, advantage=advantage, clip=clip_of(config), aggregation=token_mean)


def bnpo(config: BnpoConfig) -> Composition:
    """BNPO (arXiv 2506.02864): the distance from the mean by a Beta density fitted to the batch.

    Totals must lie between 0 and 1. Not the ``bnpo`` of TRL and Unsloth, which is ``bnpo-trl`` here.
    """
    advantage = parts.beta_normalised(BetaConfig())
    return around(config, advantage=advantage, clip=clip_of(config), aggregation=sequence_mean)

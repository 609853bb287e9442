"""Relatives of GRPO with another baseline or scale of the advantage."""

from __future__ import annotations

from grpokit.algorithms import advantage_parts as parts
from grpokit.algorithms import gpg as gpg_parts
from grpokit.algorithms.advantage_config import BetaConfig
from grpokit.algorithms.aggregation import sequence_mean, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import AGGREGATIONS, around, clip_of, ratio_of
from grpokit.algorithms.named_config import (
    BnpoConfig,
    GpgConfig,
    LitePpoConfig,
    ReinforceConfig,
    RlooConfig,
)
from grpokit.algorithms.ratio import sequence_product, token_ratio

__all__ = ["bnpo", "gpg", "lite_ppo", "reinforce_pp", "rloo"]

_LEVELS = {"token": token_ratio, "sequence-product": sequence_product}


def rloo(config: RlooConfig) -> Composition:
    """RLOO (arXiv 2402.14740): A_i = r_i - mean of the other completions of the group.

    As in verl an advantage with the token-wise clip. ``ratio`` sequence-product clips the ratio of the
    whole completion, as TRL does; TRL also takes the divergence off the reward, which cannot be had
    here.
    """
    return around(
        config,
        advantage=parts.rloo_baseline(),
        ratio=ratio_of(config, _LEVELS[config.ratio]),
        clip=clip_of(config),
        aggregation=AGGREGATIONS[config.aggregation],
    )


def reinforce_pp(config: ReinforceConfig) -> Composition:
    """REINFORCE++-baseline (arXiv 2501.03262): less the group's mean, whitened over the batch."""
    return around(
        config,
        advantage=parts.reinforce_baseline(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def lite_ppo(config: LitePpoConfig) -> Composition:
    """Lite PPO (arXiv 2508.08221): the group's mean, the batch's deviation, the token mean."""
    return around(
        config,
        advantage=parts.batch_std(config),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=token_mean,
    )


def bnpo(config: BnpoConfig) -> Composition:
    """BNPO (arXiv 2506.02864): the distance from the mean by a Beta density fitted to the batch.

    Totals must lie between 0 and 1. Not the ``bnpo`` of TRL and Unsloth, which is ``bnpo-trl`` here.
    """
    return around(
        config,
        advantage=parts.beta_normalised(BetaConfig()),
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=sequence_mean,
    )


def gpg(config: GpgConfig) -> Composition:
    """GPG (arXiv 2504.02546): plain policy gradient, scaled up for completions that teach nothing.

    L = -sum_it scale A_i log pi / sum_i L_i, A_i = r_i - mean r.
    """
    return around(
        config,
        advantage=gpg_parts.gpg_scale(config),
        clip=gpg_parts.log_prob(),
        aggregation=token_mean,
    )

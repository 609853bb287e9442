"""GRPO, the algorithm that the others are variants of."""

from __future__ import annotations

from functools import partial
from typing import Any

from grpokit.algorithms import aggregation, axes
from grpokit.algorithms.advantage import group_zscore
from grpokit.algorithms.clip import clip_ratio
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo_config import GrpoConfig, PenaltyConfig, PolicyConfig, StdConfig
from grpokit.algorithms.mask import completion_mask, finished_mask
from grpokit.algorithms.regulariser import EntropyBonus, KlPenalty, Sum
from grpokit.algorithms.select import drop_zero, keep_all

__all__ = ["AGGREGATIONS", "around", "build", "clip_of", "penalties_of", "zscore_of"]

AGGREGATIONS: dict[str, axes.Aggregation] = {
    "sequence-mean": aggregation.sequence_mean,
    "token-mean": aggregation.token_mean,
    "token-mean-local": aggregation.token_mean_local,
    "constant-length": aggregation.constant_length,
}


def build(config: GrpoConfig) -> Composition:
    """Group relative policy optimisation (arXiv 2402.03300).

    A_i = (r_i - mean r) / (std r + std_eps)
    L   = -1/G sum_i 1/L_i sum_t [min(w A_i, clip(w, 1 - eps, 1 + eps) A_i) - beta k3]

    with w = pi(o_it) / pi_old(o_it) and k3 against the reference policy. No critic: the group is the
    baseline. Degenerate: a group of one, or with equal rewards, has advantage 0 and adds only its
    divergence; with beta 0 and entropy_coef 0 it adds exactly nothing.
    """
    return around(
        config,
        advantage=zscore_of(config),
        selector=drop_zero if config.drop_dead else keep_all,
        clip=clip_of(config),
        aggregation=AGGREGATIONS[config.aggregation],
    )


def around(config: PenaltyConfig, **parts: Any) -> Composition:
    """The parts of an algorithm, with the mask and the penalties that all relatives share."""
    return Composition(
        mask=finished_mask if config.mask_truncated else completion_mask,
        regulariser=penalties_of(config),
        **parts,
    )


def zscore_of(config: StdConfig) -> axes.Advantage:
    """The distance from the group's mean in the deviation that the settings describe."""
    return partial(group_zscore, std_ddof=config.std_ddof, std_eps=config.std_eps)


def clip_of(config: PolicyConfig) -> axes.Clip:
    """The clipped objective that the settings describe."""
    return partial(
        clip_ratio,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        delta=config.delta,
    )


def penalties_of(config: PenaltyConfig) -> axes.Regulariser:
    """Divergence and entropy bonus; with both at 0 they are inert."""
    return Sum(
        (
            KlPenalty(config.beta, config.kl_estimator, config.kl_times_ratio),
            EntropyBonus(config.entropy_coef),
        )
    )

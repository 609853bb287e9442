"""GRPO, the algorithm that the others are variants of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from grpokit.algorithms import aggregation, axes
from grpokit.algorithms.advantage import group_zscore
from grpokit.algorithms.clip import clip_ratio, dual_clip
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo_config import (
    GrpoConfig,
    PenaltyConfig,
    PolicyConfig,
    RatioConfig,
    StdConfig,
)
from grpokit.algorithms.mask import completion_mask, finished_mask
from grpokit.algorithms.ratio import token_ratio
from grpokit.algorithms.regulariser import EntropyBonus, KlPenalty, Sum
from grpokit.algorithms.select import drop_zero, keep_all

__all__ = ["AGGREGATIONS", "around", "build", "clip_of", "penalties_of", "ratio_of", "zscore_of"]

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
        ratio=ratio_of(config),
        clip=clip_of(config),
        aggregation=AGGREGATIONS[config.aggregation],
    )


def around(config: PenaltyConfig, **parts: Any) -> Composition:
    """The parts of an algorithm, with the mask and the penalties that all relatives share."""
    return Composition(
        mask=finished_mask if config.mask_truncated else completion_mask,
        regulariser=penalties_of(config),
        empty_rows=config.empty_rows,
        **parts,
    )


def zscore_of(config: StdConfig) -> axes.Advantage:
    """The distance from the group's mean in the deviation that the settings describe."""
    return partial(group_zscore, std_ddof=config.std_ddof, std_eps=config.std_eps)


def clip_of(config: PolicyConfig) -> axes.Clip:
    """The clipped objective that the settings describe."""
    low, high = config.epsilon, config.epsilon_high
    if config.dual_clip is not None:
        return partial(dual_clip, epsilon=low, epsilon_high=high, floor=config.dual_clip)
    return partial(clip_ratio, epsilon=low, epsilon_high=high, delta=config.delta)


def ratio_of(config: RatioConfig, level: Callable[..., Tensor] = token_ratio) -> axes.Ratio:
    """The ratio of that level within the bounds that the settings describe."""
    return partial(level, log_max=config.log_ratio_max, log_min=config.log_ratio_min)


def penalties_of(config: PenaltyConfig) -> axes.Regulariser:
    """Divergence and entropy bonus; with both at 0 they are inert."""
    return Sum(
        (
            KlPenalty(config.beta, config.kl_estimator, config.kl_times_ratio, config.kl_limit),
            EntropyBonus(config.entropy_coef, config.entropy_mean),
        )
    )

"""Single parts as components: what ``algorithm.parts`` of a recipe builds, ``factory(config)``."""

from __future__ import annotations

from functools import partial

from grpokit.algorithms import advantage, aggregate, aggregation, axes, mask, ratio, select
from grpokit.algorithms import clip as clips
from grpokit.algorithms import correction as corrections
from grpokit.algorithms.loss_config import BoundsConfig, LengthConfig
from grpokit.algorithms.part_config import (
    ClipConfig,
    EntropyConfig,
    KlConfig,
    TruncateConfig,
    ZscoreConfig,
)
from grpokit.algorithms.regulariser import EntropyBonus, KlPenalty, NoRegulariser

__all__ = [
    "clip",
    "completion_mask",
    "constant_length",
    "drop_zero",
    "entropy_bonus",
    "finished_mask",
    "group_centred",
    "group_zscore",
    "keep_all",
    "kl",
    "no_correction",
    "no_regulariser",
    "sequence_mean",
    "sequence_ratio",
    "token_mean",
    "token_mean_local",
    "token_ratio",
    "truncate",
    "weighted_sum",
]


def weighted_sum() -> axes.Aggregate:
    return aggregate.total_scores


def group_zscore(config: ZscoreConfig) -> axes.Advantage:
    return partial(advantage.group_zscore, std_ddof=config.std_ddof, std_eps=config.std_eps)


def group_centred() -> axes.Advantage:
    return advantage.group_centred


def keep_all() -> axes.Select:
    return select.keep_all


def drop_zero() -> axes.Select:
    return select.drop_zero


def token_ratio(config: BoundsConfig) -> axes.Ratio:
    return partial(ratio.token_ratio, log_max=config.log_max, log_min=config.log_min)


def sequence_ratio(config: BoundsConfig) -> axes.Ratio:
    return partial(ratio.sequence_ratio, log_max=config.log_max, log_min=config.log_min)


def clip(config: ClipConfig) -> axes.Clip:
    return partial(
        clips.clip_ratio,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        delta=config.delta,
    )


def completion_mask() -> axes.Mask:
    return mask.completion_mask


def finished_mask() -> axes.Mask:
    return mask.finished_mask


def no_correction() -> axes.Correction:
    return corrections.no_correction


def truncate(config: TruncateConfig) -> axes.Correction:
    return partial(corrections.truncated_weight, cap=config.cap)


def no_regulariser() -> axes.Regulariser:
    return NoRegulariser()


def kl(config: KlConfig) -> axes.Regulariser:
    return KlPenalty(config.beta, config.estimator, config.times_ratio, config.limit)


def entropy_bonus(config: EntropyConfig) -> axes.Regulariser:
    return EntropyBonus(config.coefficient, config.mean)


def sequence_mean() -> axes.Aggregation:
    return aggregation.sequence_mean


def token_mean() -> axes.Aggregation:
    return aggregation.token_mean


def token_mean_local() -> axes.Aggregation:
    return aggregation.token_mean_local


def constant_length(config: LengthConfig) -> axes.Aggregation:
    return partial(aggregation.constant_length, denominator=config.denominator)

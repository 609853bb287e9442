"""Factories of the parts of ``advantage``, ``aggregate`` and ``select`` that have settings."""

from __future__ import annotations

from functools import partial

from grpokit.algorithms import advantage, advantage_batch, aggregate, axes, select
from grpokit.algorithms.advantage_config import (
    BatchStdConfig,
    BetaConfig,
    NormaliseConfig,
    PassAtKConfig,
    PowerConfig,
    TopKConfig,
    WhitenConfig,
)

__all__ = [
    "batch_std",
    "beta_normalised",
    "normalise_then_sum",
    "pass_at_k",
    "power",
    "reinforce_baseline",
    "rloo_baseline",
    "top_k",
]


def batch_std(config: BatchStdConfig) -> axes.Advantage:
    return partial(advantage_batch.batch_std, std_eps=config.std_eps)


def rloo_baseline() -> axes.Advantage:
    return advantage.leave_one_out


def reinforce_baseline(config: WhitenConfig) -> axes.Advantage | axes.RolloutAdvantage:
    if config.count == "tokens":
        return advantage_batch.TokenWhitened(config.variance_eps, config.dead_groups == "shifted")
    return partial(advantage_batch.reinforce_baseline, variance_eps=config.variance_eps)


def pass_at_k(config: PassAtKConfig) -> axes.Advantage:
    return partial(advantage.pass_at_k, scale=config.scale, std_eps=config.std_eps)


def beta_normalised(config: BetaConfig) -> axes.Advantage:
    return partial(
        advantage_batch.beta_normalised,
        alpha=config.alpha,
        beta=config.beta,
        low=config.low,
        high=config.high,
        cap=config.cap,
    )


def normalise_then_sum(config: NormaliseConfig) -> axes.Aggregate:
    return partial(
        aggregate.normalised_sum,
        weights=config.weights,
        std_ddof=config.std_ddof,
        std_eps=config.std_eps,
    )


def power(config: PowerConfig) -> axes.Aggregate:
    return partial(aggregate.power_scores, exponent=config.exponent)


def top_k(config: TopKConfig) -> axes.Select:
    return partial(select.top_k, keep=config.keep, metric=config.metric)

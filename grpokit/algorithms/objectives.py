"""Relatives of GRPO with another objective in place of the clipped ratio."""

from __future__ import annotations

from functools import partial

from grpokit.algorithms import objective
from grpokit.algorithms.aggregation import sequence_mean, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import around, ratio_of, zscore_of
from grpokit.algorithms.named_config import (
    NamedCispoConfig,
    NamedGmpoConfig,
    NamedSapoConfig,
    NamedVespoConfig,
)

__all__ = ["cispo", "gmpo", "sapo", "vespo"]


def cispo(config: NamedCispoConfig) -> Composition:
    """CISPO (MiniMax-M1, arXiv 2506.13585): the ratio is a detached, bounded weight of log pi.

    L = -sum_it sg[min(w, cap)] A_i log pi / sum_i L_i. No token loses its gradient.
    """
    clip = partial(objective.cispo, cap=config.cap, floor=config.floor)
    return around(
        config,
        advantage=zscore_of(config),
        ratio=ratio_of(config),
        clip=clip,
        aggregation=token_mean,
    )


def sapo(config: NamedSapoConfig) -> Composition:
    """SAPO (arXiv 2511.20347): a sigmoid gate that fades with the ratio, sharper for A < 0."""
    clip = partial(
        objective.sapo,
        temperature_pos=config.temperature_pos,
        temperature_neg=config.temperature_neg,
    )
    return around(
        config,
        advantage=zscore_of(config),
        ratio=ratio_of(config),
        clip=clip,
        aggregation=sequence_mean,
    )


def gmpo(config: NamedGmpoConfig) -> Composition:
    """GMPO (arXiv 2507.20673): geometric instead of arithmetic mean of clipped token ratios."""
    clip = partial(objective.gmpo, low=config.low, high=config.high)
    return around(config, advantage=zscore_of(config), clip=clip, aggregation=sequence_mean)


def vespo(config: NamedVespoConfig) -> Composition:
    """VESPO (arXiv 2602.10693; the formula is TRL's): a gamma-shaped, detached sequence weight."""
    clip = partial(
        objective.vespo,
        k_pos=config.k_pos,
        lambda_pos=config.lambda_pos,
        k_neg=config.k_neg,
        lambda_neg=config.lambda_neg,
    )
    return around(config, advantage=zscore_of(config), clip=clip, aggregation=token_mean)

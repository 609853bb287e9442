"""Relatives of GRPO with another objective in place of the clipped ratio."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from grpokit.algorithms import axes, objective
from grpokit.algorithms.advantage import group_zscore
from grpokit.algorithms.aggregation import sequence_mean, token_mean
from grpokit.algorithms.compose import Composition
from grpokit.algorithms.grpo import penalties_of
from grpokit.algorithms.grpo_config import PenaltyConfig
from grpokit.algorithms.mask import completion_mask, finished_mask
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
    return _with(config, clip, token_mean, config)


def sapo(config: NamedSapoConfig) -> Composition:
    """SAPO (arXiv 2511.20347): a sigmoid gate that fades with the ratio, sharper for A < 0."""
    clip = partial(
        objective.sapo,
        temperature_pos=config.temperature_pos,
        temperature_neg=config.temperature_neg,
    )
    return _with(config, clip, sequence_mean, config)


def gmpo(config: NamedGmpoConfig) -> Composition:
    """GMPO (arXiv 2507.20673): geometric instead of arithmetic mean of clipped token ratios."""
    clip = partial(objective.gmpo, low=config.low, high=config.high)
    return _with(config, clip, sequence_mean, config)


def vespo(config: NamedVespoConfig) -> Composition:
    """VESPO (arXiv 2602.10693; the formula is TRL's): a gamma-shaped, detached sequence weight."""
    clip = partial(
        objective.vespo,
        k_pos=config.k_pos,
        lambda_pos=config.lambda_pos,
        k_neg=config.k_neg,
        lambda_neg=config.lambda_neg,
    )
    return _with(config, clip, token_mean, config)


class _Std(Protocol):
    @property
    def std_ddof(self) -> int: ...

    @property
    def std_eps(self) -> float: ...


def _with(
    config: PenaltyConfig, clip: axes.Clip, aggregation: axes.Aggregation, std: _Std
) -> Composition:
    """GRPO's other parts around an objective."""
    return Composition(
        advantage=partial(group_zscore, std_ddof=std.std_ddof, std_eps=std.std_eps),
        clip=clip,
        mask=finished_mask if config.mask_truncated else completion_mask,
        regulariser=penalties_of(config),
        aggregation=aggregation,
    )

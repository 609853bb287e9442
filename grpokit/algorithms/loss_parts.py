"""Parts of the loss as components: what ``algorithm.parts`` of a recipe builds, ``factory(config)``."""

from __future__ import annotations

from functools import partial
from typing import Any

from grpokit.algorithms import aggregation, axes, clip, correction, covariance, objective, ratio
from grpokit.algorithms.loss_config import (
    CispoConfig,
    DualClipConfig,
    GmpoConfig,
    KlCovConfig,
    OffPolicyConfig,
    SapoConfig,
    VespoConfig,
    WeightConfig,
)

__all__ = [
    "cispo",
    "clip_off_policy",
    "dual_clip",
    "gmpo",
    "kl_cov",
    "mask_sequence",
    "mask_token",
    "sapo",
    "sequence_sum",
    "sequence_token_ratio",
    "truncate_sequence",
    "vespo",
]


def sequence_token_ratio() -> axes.Ratio:
    return ratio.sequence_token_ratio


def dual_clip(config: DualClipConfig) -> axes.Clip:
    return partial(clip.dual_clip, **_settings(config))


def clip_off_policy(config: OffPolicyConfig) -> axes.Clip:
    return partial(clip.clip_off_policy, **_settings(config))


def cispo(config: CispoConfig) -> axes.Clip:
    return partial(objective.cispo, **_settings(config))


def sapo(config: SapoConfig) -> axes.Clip:
    return partial(objective.sapo, **_settings(config))


def gmpo(config: GmpoConfig) -> axes.Clip:
    return partial(objective.gmpo, **_settings(config))


def kl_cov(config: KlCovConfig) -> axes.Clip:
    return partial(covariance.kl_cov, **_settings(config))


def vespo(config: VespoConfig) -> axes.Clip:
    return partial(objective.vespo, **_settings(config))


def truncate_sequence(config: WeightConfig) -> axes.Correction:
    return partial(
        correction.importance_weight, level="sequence", cut="truncate", **_settings(config)
    )


def mask_token(config: WeightConfig) -> axes.Correction:
    return partial(correction.importance_weight, level="token", cut="mask", **_settings(config))


def mask_sequence(config: WeightConfig) -> axes.Correction:
    return partial(correction.importance_weight, level="sequence", cut="mask", **_settings(config))


def sequence_sum() -> axes.Aggregation:
    return aggregation.sequence_sum


def _settings(config: Any) -> dict[str, Any]:
    """Fields of these configs have the names of the functions' keywords."""
    return dict(config)

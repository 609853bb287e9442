"""Parts of the loss as components: what ``algorithm.parts`` of a recipe builds, ``factory(config)``."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from grpokit.algorithms import aggregation, axes, clip, correction, covariance, objective, ratio
from grpokit.algorithms.loss_config import (
    BoundsConfig,
    CispoConfig,
    DualClipConfig,
    GmpoConfig,
    KlCovConfig,
    OffPolicyConfig,
    RejectConfig,
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
    "sequence_product",
    "sequence_sum",
    "sequence_token_ratio",
    "truncate_sequence",
    "vespo",
]


def sequence_token_ratio(config: BoundsConfig) -> axes.Ratio:
    return partial(ratio.sequence_token_ratio, **_settings(config))


def sequence_product(config: BoundsConfig) -> axes.Ratio:
    return partial(ratio.sequence_product, **_settings(config))


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


def mask_token(config: RejectConfig) -> axes.Correction:
    return _masking("token", config)


def mask_sequence(config: RejectConfig) -> axes.Correction:
    return _masking("sequence", config)


def _masking(level: Literal["token", "sequence"], config: RejectConfig) -> axes.Correction:
    if config.denominator == "shrink":
        return correction.Rejection(level, config.cap, config.floor)
    return partial(
        correction.importance_weight, level=level, cut="mask", cap=config.cap, floor=config.floor
    )


def sequence_sum() -> axes.Aggregation:
    return aggregation.sequence_sum


def _settings(config: Any) -> dict[str, Any]:
    """Fields of these configs have the names of the functions' keywords."""
    return dict(config)

"""Settings of the parts of the loss, for ``algorithm.parts`` of a recipe. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grpokit.algorithms.grpo_config import check_delta
from grpokit.spec.config import Config

__all__ = [
    "BoundsConfig",
    "CispoConfig",
    "DualClipConfig",
    "GmpoConfig",
    "GpgScaleConfig",
    "KlCovConfig",
    "LengthConfig",
    "OffPolicyConfig",
    "RejectConfig",
    "SapoConfig",
    "VespoConfig",
    "WeightConfig",
]


class DualClipConfig(Config):
    """Settings of ``dual-clip``."""

    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Lower clip range, and the upper one unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range."""
    floor: float = Field(default=3.0, gt=1)
    """Ratio beyond which a negative advantage earns nothing more; ``clip_ratio_c`` in verl."""


class OffPolicyConfig(Config):
    """Settings of ``clip-off-policy``."""

    threshold: float = Field(default=0.5, ge=0)
    """Mean log-ratio a token beyond which a completion with negative advantage is left out."""
    drift: Literal["current", "old"] = "current"
    """What is compared with the sampler: the policy as it is now (TRL), or as it was when the update began."""
    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Lower clip range, and the upper one unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range."""
    delta: float | None = None
    """Cap of the ratio for negative advantages; must exceed 1 + epsilon_high."""

    @model_validator(mode="after")
    def _check(self) -> OffPolicyConfig:
        check_delta(self.delta, self.epsilon, self.epsilon_high)
        return self


class CispoConfig(Config):
    """Settings of ``cispo-weight``."""

    cap: float = Field(default=5.0, gt=0)
    """Largest weight of a token; ``epsilon_high`` in TRL, 1 + ``clip_ratio_high`` in verl."""
    floor: float | None = Field(default=None, ge=0)
    """Smallest weight of a token; null is none (TRL), 1 - ``clip_ratio_low`` in verl."""

    @model_validator(mode="after")
    def _check(self) -> CispoConfig:
        _check_bounds(self.floor, self.cap)
        return self


class SapoConfig(Config):
    """Settings of ``sapo-gate``."""

    temperature_pos: float = Field(default=1.0, gt=0)
    """Sharpness of the gate for positive advantages."""
    temperature_neg: float = Field(default=1.05, gt=0)
    """Sharpness of the gate for negative advantages."""


class GmpoConfig(Config):
    """Settings of ``gmpo-clip``."""

    low: float = Field(default=0.4, gt=0)
    """Lower clip range of the log-ratio; 0.4 is the ratio e^-0.4 = 0.67."""
    high: float = Field(default=0.4, gt=0)
    """Upper clip range of the log-ratio; 0.4 is the ratio e^0.4 = 1.49."""


class GpgScaleConfig(Config):
    """Settings of ``gpg-scale``."""

    nonzero: Literal["advantages", "rewards"] = "advantages"
    """Completions that the scale divides by: those of groups with unequal totals (the paper), or those whose total is not 0 (verl)."""


class BoundsConfig(Config):
    """Settings of the parts of ``ratio``."""

    log_max: float = Field(default=60.0, gt=0, le=60)
    """Upper bound of the ratio's logarithm, without gradient beyond; 20 in verl (10 for GSPO)."""
    log_min: float | None = Field(default=None, lt=0)
    """Lower bound of the ratio's logarithm, without gradient beyond; -20 in verl, null is none."""


class LengthConfig(Config):
    """Settings of ``constant-length``."""

    denominator: Literal["rows-and-length", "length"] = "rows-and-length"
    """Divide by completions times rollout.max_tokens, or by rollout.max_tokens alone."""


class KlCovConfig(Config):
    """Settings of ``kl-cov``."""

    share: float = Field(default=0.0002, gt=0, le=1)
    """Share of the micro-batch's tokens that are penalised; at least one token is."""
    coefficient: float = Field(default=1.0, ge=0)
    """Weight of the penalty."""


class VespoConfig(Config):
    """Settings of ``vespo-weight``."""

    k_pos: float = Field(default=2.0, ge=0)
    """Power of the ratio for positive advantages."""
    lambda_pos: float = Field(default=3.0, ge=1e-4)
    """Decay in the ratio for positive advantages."""
    k_neg: float = Field(default=3.0, ge=0)
    """Power of the ratio for negative advantages."""
    lambda_neg: float = Field(default=2.0, ge=1e-4)
    """Decay in the ratio for negative advantages."""


class WeightConfig(Config):
    """Settings of ``truncate-sequence``."""

    cap: float = Field(default=2.0, gt=0)
    """Largest weight; beyond it a weight is cut to it (truncate-sequence) or to 0 (mask-token, mask-sequence)."""
    floor: float | None = Field(default=None, ge=0)
    """Smallest weight; below it a weight is raised to it (truncate-sequence) or cut to 0 (mask-token, mask-sequence)."""

    @model_validator(mode="after")
    def _check(self) -> WeightConfig:
        _check_bounds(self.floor, self.cap)
        return self


class RejectConfig(WeightConfig):
    """Settings of ``mask-token`` and ``mask-sequence``."""

    denominator: Literal["keep", "shrink"] = "keep"
    """What is outside the bounds still counts in the means (TRL), or is masked wholly (verl's rejection)."""


def _check_bounds(floor: float | None, cap: float) -> None:
    if floor is not None and floor >= cap:
        raise ValueError(f"floor is {floor:g} and must be below cap = {cap:g}; null is no floor")

"""Settings of ProRL and its second version. No torch here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from grpokit.algorithms.advantage_config import WhitenConfig
from grpokit.algorithms.grpo_config import PolicyConfig, ScaledConfig
from grpokit.algorithms.remember_config import ProlongConfig
from grpokit.algorithms.step_config import DynamicSamplingConfig

__all__ = ["ProrlConfig", "ProrlV2Config"]


class LongConfig(ProlongConfig, DynamicSamplingConfig, PolicyConfig):
    """What both versions share."""

    beta: float = Field(default=1e-4, ge=0)
    """Weight of the KL divergence from the reference policy, which is reset; 0 needs no reference."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return ProlongConfig.needs(self) | PolicyConfig.needs(self)


class ProrlConfig(LongConfig, ScaledConfig):
    """Prolonged reinforcement learning (arXiv 2505.24864)."""

    epsilon_high: float | None = Field(default=0.4, gt=0)
    """Upper clip range; null is epsilon on both sides."""
    patience: int | None = Field(default=50, ge=1)
    """Reset after this many steps without a better mean reward (our number); null is no such condition."""


class ProrlV2Config(LongConfig, WhitenConfig):
    """The second version of prolonged reinforcement learning (OpenRLHF's script)."""

    epsilon_high: float | None = Field(default=0.27, gt=0)
    """Upper clip range; null is epsilon on both sides."""
    kl_estimator: Literal["k1", "k2", "k3", "ref-weighted"] = "k2"
    """Estimator of the divergence a token."""
    mismatch_floor: float = Field(default=0.5, ge=0)
    """Smallest ratio of trainer to sampler; a token outside the bounds teaches nothing (IcePop)."""
    mismatch_cap: float = Field(default=5.0, gt=0)
    """Largest ratio of trainer to sampler."""
    metric: str = "total"
    """What must differ within a group, and says that a completion is correct: total, or the name of one reward."""
    correct_at: float = 1.0
    """A completion is correct if the metric is at least this; it decides the score by length."""
    length_weight: float = Field(default=1.0, ge=0)
    """Weight of the score by length that is added to the total (1 to 0.5 if correct, else -1 to -0.5); 0 is off."""
    length_start: int = Field(default=1, ge=1)
    """First step with the score by length."""
    length_on: int = Field(default=1, ge=1)
    """Steps in a row with it."""
    length_off: int = Field(default=0, ge=0)
    """Steps in a row, after those, without it; 0 never turns it off."""
    stop_coefficient: float = Field(default=0.0, le=1)
    """Factor of a truncated completion's total, 0 to 1; a negative number replaces the total."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.mismatch_floor >= self.mismatch_cap:
            raise ValueError(
                f"mismatch_floor is {self.mismatch_floor:g} and must be below "
                f"mismatch_cap = {self.mismatch_cap:g}"
            )
        return self

"""Settings of parts that remember: adaptive entropy, resets of a long run. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grpokit.spec.config import Config

__all__ = ["AdaptiveEntropyConfig", "ProlongConfig"]


class AdaptiveEntropyConfig(Config):
    """Settings of ``adaptive-entropy``."""

    target: float = Field(default=0.2, ge=0)
    """Entropy a token, in nats, at or below which the bonus acts; set it near the entropy of the first steps."""
    coefficient: float = Field(default=0.0, ge=0)
    """Weight of the entropy at the start."""
    delta: float = Field(default=0.005, gt=0)
    """Change of the weight after each step."""
    low: float = Field(default=0.0, ge=0)
    """Smallest weight."""
    high: float = Field(default=1.0, gt=0)
    """Largest weight."""
    mean: Literal["objective", "tokens"] = "objective"
    """The bonus is aggregated like the objective, or the mean of the step's tokens under every aggregation (TRL)."""

    @model_validator(mode="after")
    def _check(self) -> AdaptiveEntropyConfig:
        if not self.low <= self.coefficient <= self.high:
            raise ValueError(
                f"coefficient is {self.coefficient:g} and must lie between low = {self.low:g} "
                f"and high = {self.high:g}"
            )
        return self

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"entropy"})


class ProlongConfig(Config):
    """Settings of ``prolong``. Without a condition nothing is ever reset."""

    every: int | None = Field(default=None, ge=1)
    """Steps from one reset to the next; null is no such condition."""
    kl_above: float | None = Field(default=None, gt=0)
    """Reset when the mean of kl over the last window steps exceeds this; null is no such condition."""
    window: int = Field(default=10, ge=1)
    """Steps of that mean; steps before the last reset do not count."""
    patience: int | None = Field(default=None, ge=1)
    """Reset after this many steps without a better mean reward; null is no such condition."""
    min_gain: float = Field(default=0.0, ge=0)
    """How much better the mean reward must be to count as better."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"reference"} if self.kl_above is not None else ())

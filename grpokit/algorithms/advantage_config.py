"""Settings of the parts of ``advantage``, ``aggregate`` and ``select``. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grpokit.spec.config import Config

__all__ = [
    "BatchStdConfig",
    "BetaConfig",
    "NormaliseConfig",
    "PassAtKConfig",
    "PowerConfig",
    "TopKConfig",
    "WhitenConfig",
]


class BatchStdConfig(Config):
    """Settings of ``batch-std``."""

    std_eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation of the batch."""


class WhitenConfig(Config):
    """Settings of ``reinforce-baseline``."""

    variance_eps: float = Field(default=1e-8, ge=0)
    """Added to the variance of the batch, under the root."""
    count: Literal["completions", "tokens"] = "completions"
    """What the batch's mean and variance count once: each completion, or each token (verl)."""
    dead_groups: Literal["zero", "shifted"] = "zero"
    """A group with equal totals gets 0, or under count: tokens is shifted by the batch's mean like the others (verl)."""


class PassAtKConfig(Config):
    """Settings of ``pass-at-k``."""

    scale: bool = True
    """Divide by the standard deviation of the group."""
    std_eps: float = Field(default=1e-6, ge=0)
    """Added to the standard deviation."""


class BetaConfig(Config):
    """Settings of ``beta-normalised``."""

    alpha: float | None = Field(default=None, gt=0)
    """First parameter of the density; set with beta, or both are fitted to every batch."""
    beta: float | None = Field(default=None, gt=0)
    """Second parameter of the density."""
    low: float = 0.0
    """Lowest possible total; it is mapped to 0."""
    high: float = 1.0
    """Highest possible total; it is mapped to 1."""
    cap: float = Field(default=1e6, gt=0)
    """Largest factor that a small density can give."""

    @model_validator(mode="after")
    def _check(self) -> BetaConfig:
        if (self.alpha is None) != (self.beta is None):
            raise ValueError("alpha and beta belong together; set both, or neither to fit them")
        if self.high <= self.low:
            raise ValueError(f"high is {self.high:g} and must exceed low, {self.low:g}")
        return self


class NormaliseConfig(Config):
    """Settings of ``normalise-then-sum``."""

    weights: dict[str, float] | None = Field(default=None, min_length=1)
    """Weight of each reward by its name in the recipe, where it is not the recipe's; rewards not named here do not count."""
    std_ddof: Literal[0, 1] = 1
    """Standard deviation over n - std_ddof: 1 is the sample's, 0 the population's."""
    std_eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation: 1e-4 in TRL, 1e-6 in verl."""

    def reward_names(self) -> dict[str, tuple[str, ...]]:
        """Rewards that the recipe must have."""
        return {"weights": tuple(self.weights or ())}


class PowerConfig(Config):
    """Settings of ``power``."""

    exponent: float = Field(default=4.0, gt=0)
    """Exponent of the size of a total; its sign stays."""


class TopKConfig(Config):
    """Settings of ``top-k``."""

    keep: int = Field(default=4, ge=1)
    """Completions of each group that train; at rollout.group or above nothing is pruned."""
    metric: Literal["shortest", "efficiency"] = "shortest"
    """shortest: fewest tokens; efficiency: most total a token."""

"""Settings of single parts, for ``algorithm.parts`` of a recipe. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grpokit.algorithms.grpo_config import check_delta
from grpokit.spec.config import Config

__all__ = ["ClipConfig", "EntropyConfig", "KlConfig", "TruncateConfig", "ZscoreConfig"]


class ZscoreConfig(Config):
    """Settings of ``group-zscore``."""

    std_ddof: Literal[0, 1] = 1
    """Standard deviation over n - std_ddof: 1 is the sample's, 0 the population's."""
    std_eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation."""


class ClipConfig(Config):
    """Settings of ``clip``."""

    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Lower clip range, and the upper one unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range."""
    delta: float | None = None
    """Cap of the ratio for negative advantages; must exceed 1 + epsilon_high."""

    @model_validator(mode="after")
    def _check(self) -> ClipConfig:
        check_delta(self.delta, self.epsilon, self.epsilon_high)
        return self


class KlConfig(Config):
    """Settings of ``kl``."""

    beta: float = Field(default=0.04, ge=0)
    """Weight of the divergence from the reference policy."""
    estimator: Literal["k1", "k2", "k3", "ref-weighted"] = "k3"
    """Estimator of the divergence a token; ref-weighted is OpenPipe's term."""
    times_ratio: bool = False
    """Multiply by the ratio, with its gradient (arXiv 2512.02556)."""
    limit: float | None = Field(default=None, gt=0)
    """Bound of the estimate a token, in both directions; 10 in verl, null is none."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"reference"}) if self.beta else frozenset()


class EntropyConfig(Config):
    """Settings of ``entropy-bonus``."""

    coefficient: float = Field(default=0.001, ge=0)
    """Weight of the entropy a token."""
    mean: Literal["objective", "tokens"] = "objective"
    """Aggregated like the objective (verl), or the mean of the step's tokens under every aggregation (TRL)."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend."""
        return frozenset({"entropy"}) if self.coefficient else frozenset()


class TruncateConfig(Config):
    """Settings of ``truncate``."""

    cap: float = Field(default=2.0, gt=0)
    """Largest weight a token can get."""

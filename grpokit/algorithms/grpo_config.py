"""Settings of ``grpo`` and of what its relatives share. No torch here: checking a recipe reads this."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from grpokit.algorithms import like
from grpokit.spec.config import Config

__all__ = [
    "AggregationName",
    "GrpoConfig",
    "PenaltyConfig",
    "PolicyConfig",
    "RatioConfig",
    "ScaledConfig",
    "StdConfig",
    "check_delta",
]

AggregationName = Literal["sequence-mean", "token-mean", "token-mean-local", "constant-length"]


class PenaltyConfig(like.Likeable):
    """Penalties and the mask, which GRPO and its relatives share."""

    beta: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the reference policy; 0 needs no reference. The paper used 0.04."""
    kl_estimator: Literal["k1", "k2", "k3", "ref-weighted"] = "k3"
    """Estimator of the divergence a token; k3 is the paper's, ref-weighted OpenPipe's."""
    kl_times_ratio: bool = False
    """Multiply the divergence by the ratio, with its gradient (arXiv 2512.02556; TRL's default). The paper does not."""
    kl_limit: float | None = Field(default=None, gt=0)
    """Bound of the divergence a token, in both directions; 10 in verl. null is none."""
    entropy_coef: float = Field(default=0.0, ge=0)
    """Weight of an entropy bonus a token; 0 is off."""
    entropy_mean: Literal["objective", "tokens"] = "objective"
    """The bonus is aggregated like the objective (verl), or the mean of the step's tokens under every aggregation (TRL)."""
    mask_truncated: bool = False
    """Completions that ran into rollout.max_tokens add no loss; their reward still counts in the group."""
    empty_rows: Literal["count", "leave-out"] = "count"
    """Completions whose every token is masked: count them in the means over completions (TRL), or leave-out (verl)."""

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend, beyond those of the algorithm."""
        wanted = {"reference": self.beta != 0, "entropy": self.entropy_coef != 0}
        return frozenset(name for name, yes in wanted.items() if yes)


class RatioConfig(Config):
    """Bounds of the ratio before any clipping."""

    log_ratio_max: float = Field(default=60.0, gt=0, le=60)
    """Upper bound of the ratio's logarithm, without gradient beyond; 20 in verl (10 for GSPO). 60 only keeps float32 finite."""
    log_ratio_min: float | None = Field(default=None, lt=0)
    """Lower bound of the ratio's logarithm, without gradient beyond; -20 in verl. null is none."""


class PolicyConfig(RatioConfig, PenaltyConfig):
    """The same with the clipped ratio's trust region."""

    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Clip range: the ratio of new to old policy earns nothing below 1 - epsilon, nor above 1 + epsilon unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range where it differs from epsilon; 0.28 is DAPO's clip-higher (arXiv 2503.14476)."""
    delta: float | None = None
    """Cap of the ratio for negative advantages (two-sided clip, arXiv 2505.07291); must exceed 1 + epsilon_high. None is off."""
    dual_clip: float | None = Field(default=None, gt=1)
    """Floor of the objective for negative advantages, in advantages (dual clip, arXiv 1912.09729); 3 in verl. None is off."""

    @model_validator(mode="after")
    def _check_delta(self) -> Self:
        check_delta(self.delta, self.epsilon, self.epsilon_high)
        if self.delta is not None and self.dual_clip is not None:
            raise ValueError("delta and dual_clip bound the same tokens; set one of them to null")
        return self


class StdConfig(Config):
    """The deviation that an advantage is measured in."""

    std_ddof: Literal[0, 1] = 1
    """Standard deviation of a group over n - std_ddof: 1 is the sample's (TRL, verl), 0 the population's (OpenPipe)."""
    std_eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation: 1e-4 in TRL, 1e-6 in verl and OpenPipe."""


class ScaledConfig(StdConfig, PolicyConfig):
    """Clipped ratio, and an advantage in standard deviations."""


class GrpoConfig(ScaledConfig):
    """Group relative policy optimisation (arXiv 2402.03300)."""

    conventions: ClassVar[like.Conventions] = like.GRPO

    aggregation: AggregationName = "sequence-mean"
    """How token losses become one: sequence-mean (the paper), token-mean over the whole step (DAPO), token-mean-local (TRL's bnpo), constant-length (Dr. GRPO)."""
    drop_dead: bool = False
    """Leave completions with advantage 0 out of every denominator too, so that dead groups do not dilute the step."""

    @model_validator(mode="after")
    def _check_dead(self) -> Self:
        if self.drop_dead and (self.beta or self.entropy_coef):
            raise ValueError(
                "drop_dead removes rows that beta and entropy_coef would still train on; "
                "set drop_dead: false, or beta and entropy_coef to 0"
            )
        return self


def check_delta(delta: float | None, epsilon: float, epsilon_high: float | None) -> None:
    """Refuses a cap inside the clip region: it would undo the clipping.

    Raises:
        ValueError: with the bound in numbers.
    """
    high = epsilon if epsilon_high is None else epsilon_high
    if delta is not None and delta <= 1 + high:
        raise ValueError(
            f"delta is {delta:g} and must exceed 1 + {'epsilon_high' if epsilon_high is not None else 'epsilon'}"
            f" = {1 + high:g}; a usual value is {max(1.5, round(1 + 2 * high, 2)):g}, or null for off"
        )

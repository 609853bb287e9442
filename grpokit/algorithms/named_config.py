"""Settings of GRPO's named relatives. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from grpokit.algorithms import like
from grpokit.algorithms.advantage_config import BatchStdConfig, WhitenConfig
from grpokit.algorithms.grpo_config import (
    AggregationName,
    PenaltyConfig,
    PolicyConfig,
    RatioConfig,
    ScaledConfig,
    StdConfig,
)
from grpokit.algorithms.loss_config import (
    CispoConfig,
    GmpoConfig,
    GpgScaleConfig,
    SapoConfig,
    VespoConfig,
)

__all__ = [
    "BnpoConfig",
    "BnpoTrlConfig",
    "DrGrpoConfig",
    "GpgConfig",
    "GspoConfig",
    "GspoTokenConfig",
    "LitePpoConfig",
    "LuspoConfig",
    "NamedCispoConfig",
    "NamedGmpoConfig",
    "NamedSapoConfig",
    "NamedVespoConfig",
    "ReinforceConfig",
    "RlooConfig",
    "SequenceConfig",
]


class DrGrpoConfig(PolicyConfig):
    """GRPO done right (arXiv 2503.20783): neither deviation nor length in a denominator."""

    conventions: ClassVar[like.Conventions] = like.DR_GRPO

    denominator: Literal["rows-and-length", "length"] = "rows-and-length"
    """Divide by completions times rollout.max_tokens (TRL, verl 0.9.1), or by rollout.max_tokens alone (verl until January 2026)."""


class BnpoTrlConfig(ScaledConfig):
    """What TRL and Unsloth call bnpo; not the BNPO of arXiv 2506.02864."""

    conventions: ClassVar[like.Conventions] = like.BNPO_TRL

    empty_rows: Literal["count", "leave-out"] = "leave-out"
    """Completions whose every token is masked: leave-out (in effect TRL's), or count them in the weight of the micro-batches."""


class SequenceConfig(ScaledConfig):
    """Clip ranges of whole completions."""

    epsilon: float = Field(default=3e-4, gt=0, le=1)
    """Clip range of the completion's ratio, far smaller than that of single tokens (the paper's value)."""
    epsilon_high: float | None = Field(default=4e-4, gt=0)
    """Upper clip range (the paper's value)."""


class GspoConfig(SequenceConfig):
    """Group sequence policy optimisation (arXiv 2507.18071)."""

    conventions: ClassVar[like.Conventions] = like.GSPO

    aggregation: Literal["sequence-mean", "token-mean", "token-mean-local"] = "sequence-mean"
    """How token losses become one: sequence-mean is the paper's; under token-mean (TRL's own default) a completion weighs its length."""


class GspoTokenConfig(GspoConfig):
    """GSPO in token form (arXiv 2507.18071)."""

    conventions: ClassVar[like.Conventions] = like.GSPO_TOKEN


class LuspoConfig(SequenceConfig):
    """GSPO times the length (arXiv 2602.05261, as TRL has it)."""

    conventions: ClassVar[like.Conventions] = like.LUSPO


class NamedCispoConfig(StdConfig, CispoConfig, RatioConfig, PenaltyConfig):
    """Clipped importance weights, every token with a gradient (arXiv 2506.13585)."""

    conventions: ClassVar[like.Conventions] = like.CISPO


class NamedSapoConfig(StdConfig, SapoConfig, RatioConfig, PenaltyConfig):
    """A soft gate in place of the clip (arXiv 2511.20347)."""

    conventions: ClassVar[like.Conventions] = like.SAPO


class NamedGmpoConfig(StdConfig, GmpoConfig, PenaltyConfig):
    """Geometric mean policy optimisation (arXiv 2507.20673)."""

    conventions: ClassVar[like.Conventions] = like.GMPO


class NamedVespoConfig(StdConfig, VespoConfig, PenaltyConfig):
    """A gamma-shaped weight of the completion's ratio (arXiv 2602.10693, as TRL has it)."""

    conventions: ClassVar[like.Conventions] = like.VESPO


class RlooConfig(PolicyConfig):
    """REINFORCE with the other completions as baseline (arXiv 2402.14740)."""

    conventions: ClassVar[like.Conventions] = like.RLOO

    ratio: Literal["token", "sequence-product"] = "token"
    """What is clipped: each token's ratio (verl), or the product over the completion (TRL)."""
    aggregation: AggregationName = "sequence-mean"
    """How token losses become one; token-mean is verl's default."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ratio == "sequence-product" and self.aggregation == "constant-length":
            raise ValueError(
                "a ratio of the whole completion would count once for each of its tokens; "
                "set aggregation: sequence-mean"
            )
        if self.like == "trl" and self.beta:
            raise ValueError(
                "TRL's RLOO takes the divergence off the reward, before the baseline; here the "
                "reference is asked only about completions that train, after advantages. Set "
                "beta: 0, or leave like out for a divergence in the loss"
            )
        return self


class ReinforceConfig(WhitenConfig, PolicyConfig):
    """REINFORCE++ with the group as baseline (arXiv 2501.03262)."""

    conventions: ClassVar[like.Conventions] = like.REINFORCE


class LitePpoConfig(BatchStdConfig, PolicyConfig):
    """Lite PPO (arXiv 2508.08221): the batch's deviation and the token mean, nothing else."""

    conventions: ClassVar[like.Conventions] = like.LITE_PPO


class BnpoConfig(PolicyConfig):
    """BNPO of the paper (arXiv 2506.02864), for totals between 0 and 1."""

    conventions: ClassVar[like.Conventions] = like.BNPO


class GpgConfig(GpgScaleConfig, PenaltyConfig):
    """Group policy gradient (arXiv 2504.02546): no ratio, no clip."""

    conventions: ClassVar[like.Conventions] = like.GPG

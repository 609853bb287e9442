"""Settings of the algorithms that steer what a step asks and keeps. No torch here."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from grpokit.algorithms import like
from grpokit.algorithms.grpo_config import ScaledConfig
from grpokit.algorithms.shaping_config import too_wide
from grpokit.algorithms.step_config import (
    DynamicSamplingConfig,
    HistoryConfig,
    MetricConfig,
    SamplingStage,
    ascending,
    longest,
)

__all__ = ["DapoConfig", "PolarisConfig", "SrpoConfig"]


class ClipHigherConfig(ScaledConfig):
    """DAPO's clip range: more room upwards."""

    epsilon_high: float | None = Field(default=0.28, gt=0)
    """Upper clip range (clip-higher); null is epsilon on both sides."""


class DapoConfig(DynamicSamplingConfig, ClipHigherConfig):
    """Decoupled clip and dynamic sampling (arXiv 2503.14476)."""

    conventions: ClassVar[like.Conventions] = like.DAPO

    overlong_cache: int | None = Field(default=None, ge=1)
    """Soft overlong punishment over so many tokens before rollout.max_tokens (the paper: 4096 of 20480); null is off."""
    overlong_weight: float = Field(default=1.0, ge=0)
    """What a completion at the limit loses."""

    def misfit(self, *, prompts: int, group: int, max_tokens: int) -> tuple[str, str, str] | None:
        """The punishment begins above no token at all."""
        del prompts, group
        return too_wide("overlong_cache", self.overlong_cache, max_tokens)


class SrpoConfig(HistoryConfig, ScaledConfig):
    """History resampling (arXiv 2504.14286)."""


class PolarisConfig(MetricConfig, ClipHigherConfig):
    """POLARIS: stages, easy rows out between them, dead groups replaced."""

    stages: list[SamplingStage] = Field(default=[])
    """Length limit, temperature and the like from a step on; each stage but one from step 1 begins with a border."""
    metric: str = "total"
    """Score that decides which rows are easy: total, or the name of one reward."""
    drop_above: float = 0.9
    """Rows with a mean score above this are dropped at a border."""
    drop_every: int | None = Field(default=None, ge=1)
    """Further borders, behind each so many steps."""

    @field_validator("stages")
    @classmethod
    def _ascend(cls, stages: list[SamplingStage]) -> list[SamplingStage]:
        return ascending(stages)

    def asks(self, *, prompts: int, max_tokens: int) -> tuple[int, int]:
        """Questions of a first round, and the longest completion."""
        return prompts, longest(self.stages, max_tokens)

"""Settings of GFPO, its adaptive form and OPO, parts and named. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from grpokit.algorithms import like
from grpokit.algorithms.grpo_config import PolicyConfig
from grpokit.spec.config import Config

__all__ = [
    "AdGfpoConfig",
    "AdaptiveFilterConfig",
    "FilterConfig",
    "GfpoConfig",
    "KeptConfig",
    "OpoConfig",
]


class MetricConfig(Config):
    """What makes a completion one of the best of its group."""

    metric: Literal["shortest", "efficiency"] = "shortest"
    """shortest: fewest tokens; efficiency: most total a token, which erases the signal of totals of 0 and 1."""


class KeptConfig(MetricConfig):
    """Settings of ``filtered-rows``."""

    keep: int | None = Field(default=None, ge=2)
    """Completions of each group that train; null is half of the group (8 of 16 in the paper)."""

    def misfit(
        self, *, prompts: int, group: int, max_tokens: int = 0
    ) -> tuple[str, str, str] | None:
        """The paper samples more than it keeps."""
        del prompts, max_tokens
        if self.keep is None or self.keep <= group:
            return None
        fact = f"a group of {group} completions cannot keep {self.keep}"
        return "keep", fact, f"set keep to {max(2, group // 2)}, or null for half of the group"


class DeviationConfig(Config):
    """The deviation of the kept completions."""

    std_ddof: Literal[0, 1] = 0
    """Standard deviation over n - std_ddof: 0 is the population's (the paper), 1 the sample's."""
    std_eps: float = Field(default=0.0, ge=0)
    """Added to the standard deviation; 0 is the paper's. Equal totals give 0 all the same."""


class FilterConfig(DeviationConfig, KeptConfig):
    """Settings of ``group-filter``."""


class AdaptiveFilterConfig(DeviationConfig, MetricConfig):
    """Settings of ``adaptive-filter``."""

    shares: tuple[float, float, float, float] = (0.5, 0.5, 0.375, 0.25)
    """Shares of a very hard, hard, medium and easy group that train: 8, 8, 6 and 4 of 16 in the paper; at least 2 do."""
    warmup: int = Field(default=32, ge=4)
    """Groups to be seen before difficulty counts; until then every group is very hard."""

    @field_validator("shares", mode="before")
    @classmethod
    def _from_yaml(cls, given: object) -> object:
        return tuple(given) if isinstance(given, list) else given

    @field_validator("shares")
    @classmethod
    def _check(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share <= 1 for share in shares):
            raise ValueError("each share must be above 0 and at most 1")
        return shares


class SparingConfig(PolicyConfig):
    """The clipped ratio with the paper's weak penalties."""

    beta: float = Field(default=0.001, ge=0)
    """Weight of the KL divergence from the reference policy; 0 needs no reference."""
    entropy_coef: float = Field(default=0.001, ge=0)
    """Weight of an entropy bonus a token; 0 is off."""


class GfpoConfig(FilterConfig, SparingConfig):
    """Group filtered policy optimisation (arXiv 2508.09726)."""

    denominator: Literal["all", "kept"] = "all"
    """Tokens that the mean counts: those of all completions of the group (the paper), or of the kept (TRL once)."""


class AdGfpoConfig(AdaptiveFilterConfig, SparingConfig):
    """GFPO that keeps more of hard groups (arXiv 2508.09726)."""


class OpoConfig(PolicyConfig):
    """On-policy optimisation with the baseline of least variance (arXiv 2505.23585)."""

    conventions: ClassVar[like.Conventions] = like.OPO

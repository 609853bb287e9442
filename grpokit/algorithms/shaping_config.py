"""Settings of the parts of ``aggregate`` that look at lengths. No torch here."""

from __future__ import annotations

from pydantic import Field

from grpokit.algorithms.step_config import MetricConfig
from grpokit.spec.config import Config

__all__ = ["CosineLengthConfig", "OverlongConfig", "StopProperlyConfig", "too_wide"]


def too_wide(setting: str, cache: int | None, max_tokens: int) -> tuple[str, str, str] | None:
    """The setting, the fact and the remedy where the cache is longer than a completion."""
    if cache is None or cache <= max_tokens:
        return None
    fact = (
        f"the overlong punishment begins {cache} tokens before the limit, and rollout.max_tokens "
        f"is {max_tokens}"
    )
    return (
        setting,
        fact,
        f"set {setting} to {max(1, max_tokens // 5)}, a fifth of rollout.max_tokens",
    )


class OverlongConfig(Config):
    """Settings of ``overlong``."""

    cache: int | None = Field(default=None, ge=1)
    """Tokens before rollout.max_tokens at which the punishment begins; left out it is a fifth of it, as in the paper (4096 of 20480)."""
    weight: float = Field(default=1.0, ge=0)
    """What a completion at the limit loses."""

    def misfit(self, *, prompts: int, group: int, max_tokens: int) -> tuple[str, str, str] | None:
        """The punishment begins above no token at all."""
        del prompts, group
        return too_wide("cache", self.cache, max_tokens)


class CosineLengthConfig(MetricConfig):
    """Settings of ``cosine-length``."""

    metric: str = "total"
    """What says that a completion is correct: total, or the name of one reward."""
    threshold: float = 1.0
    """A completion is correct if the metric is at least this."""
    weight: float = 1.0
    """Factor of the score by length that is added to the total."""
    correct_short: float = 1.0
    """Score of a correct completion of length 0."""
    correct_long: float = 0.5
    """Score of a correct completion of rollout.max_tokens."""
    wrong_short: float = -1.0
    """Score of a wrong completion of length 0."""
    wrong_long: float = -0.5
    """Score of a wrong completion of rollout.max_tokens."""
    start: int = Field(default=1, ge=1)
    """First step in which it acts."""
    on: int = Field(default=1, ge=1)
    """Steps in a row in which it acts."""
    off: int = Field(default=0, ge=0)
    """Steps in a row, after those, in which it does not; 0 never turns it off."""


class StopProperlyConfig(Config):
    """Settings of ``stop-properly``."""

    coefficient: float = Field(default=0.0, le=1)
    """Factor of a truncated completion's total, 0 to 1; a negative number replaces the total."""

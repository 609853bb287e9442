"""The completion's length lies in a range; outside it the score falls linearly to 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config

__all__ = ["LengthConfig", "length"]


class LengthConfig(Config):
    """Settings of the reward `length`."""

    unit: Literal["tokens", "words", "characters"] = "tokens"
    """What is counted."""
    min: int = Field(default=0, ge=0)
    """Shortest length with full score."""
    max: int | None = Field(default=None, ge=0)
    """Longest length with full score; no limit when left out."""
    ramp: int = Field(default=0, ge=0)
    """Distance from the range over which the score falls from 1 to 0; 0 drops it at once."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max is None and self.min == 0:
            raise ValueError("give min, max or both")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self


def length(config: LengthConfig) -> Callable[[str, int | None], float | None]:
    """Builds the reward ``1 - distance / (ramp + 1)``, at least 0.

    ``distance`` is how far the length lies outside of [min, max]. Abstains where tokens are counted
    and their number is not known, as when a text is scored that no model wrote.
    """

    def score(completion: str, tokens: int | None) -> float | None:
        if config.unit == "tokens":
            count = tokens
        else:
            count = len(completion) if config.unit == "characters" else len(completion.split())
        if count is None:
            return None
        over = 0 if config.max is None else count - config.max
        distance = max(config.min - count, over, 0)
        return max(0.0, 1.0 - distance / (config.ramp + 1))

    return score

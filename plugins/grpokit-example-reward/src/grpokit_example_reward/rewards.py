"""A reward against loops: a model under a length bonus soon repeats itself, and this counts it."""

from __future__ import annotations

import string
from collections.abc import Callable

from pydantic import Field

from grpokit.api import Config


class DistinctConfig(Config):
    """What stands under ``with:``."""

    n: int = Field(default=3, ge=1, le=16)
    """Words that make one n-gram."""


def distinct(config: DistinctConfig) -> Callable[[str], float | None]:
    """Returns the reward: the number of different n-grams over the number of n-grams.

    Case and punctuation do not count. A completion with fewer than ``n`` words has no n-gram: the
    reward does not apply and says None, which is not the same as 0.
    """
    n = config.n

    def reward(completion: str) -> float | None:
        bare = (word.strip(string.punctuation) for word in completion.lower().split())
        words = [word for word in bare if word]
        grams = list(zip(*(words[start:] for start in range(n)), strict=False))
        return len(set(grams)) / len(grams) if grams else None

    return reward

"""Rewards that look at a completion's shape and not at its answer: give them small weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from grpokit.api import Config

__all__ = [
    "RepetitionConfig",
    "StepsConfig",
    "TagCountConfig",
    "reasoning_steps",
    "repetition",
    "tag_count",
]

STEP = re.compile(r"Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,")
LINE_STEP = re.compile(
    r"^[ \t]{0,8}(?:Step \d{1,4}:|\d{1,4}\.[ \t]|[-*][ \t])|\b(?:First|Second|Next|Finally),",
    re.MULTILINE,
)
"""Both look at each character a bounded number of times, but for digits, whose runs are skipped."""


class RepetitionConfig(Config):
    """Settings of the reward `repetition`."""

    n: int = Field(default=3, ge=1, le=16)
    """Words that make one n-gram."""
    max_penalty: float = Field(default=-1.0, le=0)
    """Score of a completion that says one thing all the time."""
    unit: Literal["words", "characters"] = "words"
    """What an n-gram is made of: words between white space, or characters for scripts without spaces."""
    legacy: bool = False
    """As open-r1: a completion of fewer than `n` words earns 0."""


class TagCountConfig(Config):
    """Settings of the reward `tag-count`."""

    legacy: bool = False
    """As open-r1: each tag counts by itself, in any order, if the line breaks around it are there."""


class StepsConfig(Config):
    """Settings of the reward `reasoning-steps`."""

    steps: int = Field(default=3, ge=1)
    """Steps that earn the full score."""
    legacy: bool = False
    """As open-r1: a numbered list counts once, since its numbers are looked for at the start of the text only, and dashes count anywhere a line begins with one."""


def repetition(config: RepetitionConfig) -> Callable[[str], float | None]:
    """Builds the reward ``max_penalty (1 - different n-grams / n-grams)`` (arXiv 2502.03373; R21).

    Case does not count. A completion of fewer than ``n`` words has no n-gram: the reward abstains.
    """
    n = config.n

    def score(completion: str) -> float | None:
        text = completion.lower()
        words = text.split() if config.unit == "words" else list(text)
        count = len(words) - n + 1
        if count < 1:
            return 0.0 if config.legacy else None
        different = len(set(zip(*(words[start:] for start in range(n)), strict=False)))
        return config.max_penalty * (1.0 - different / count)

    return score


def tag_count(config: TagCountConfig) -> Callable[[str], float]:
    """Builds the reward: 0.25 for each of the four tags of think and answer (open-r1; R23).

    A tag counts that occurs once and stands behind those before it that occur; so tags thrown in
    anyhow earn less than all. Line breaks around them are free.
    """
    if config.legacy:
        tags = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")
        return lambda completion: 0.25 * sum(completion.count(tag) == 1 for tag in tags)

    def score(completion: str) -> float:
        count, last = 0, -1
        for tag in ("<think>", "</think>", "<answer>", "</answer>"):
            place = completion.find(tag)
            if completion.count(tag) == 1 and place > last:
                count, last = count + 1, place
        return 0.25 * count

    return score


def reasoning_steps(config: StepsConfig) -> Callable[[str], float]:
    """Builds the reward ``min(1, steps / 3)`` (open-r1; R23).

    A step is a line that begins with ``Step 1:``, ``1.``, ``-`` or ``*``, or one of the words ``First,``
    ``Second,`` ``Next,`` ``Finally,``. It is easily satisfied by words without meaning.
    """
    pattern = STEP if config.legacy else LINE_STEP

    def score(completion: str) -> float:
        return min(1.0, sum(1 for _ in pattern.finditer(completion)) / config.steps)

    return score

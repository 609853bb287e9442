"""Rewards that look at how long a completion is, most of them also at whether it is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import Config, reward
from grpokit_math.rewards.answer import AnswerConfig, gold_text, judge

__all__ = [
    "CosineConfig",
    "LenConfig",
    "OverlongConfig",
    "cosine_length",
    "len_reward",
    "soft_overlong",
]

Unit = Literal["tokens", "words", "characters"]


class CosineConfig(AnswerConfig):
    """Settings of the reward `cosine-length`."""

    max: int = Field(default=1000, ge=1)
    """Length at which the cosine ends."""
    unit: Unit | None = None
    """What is counted: `tokens` where it is not set, and under `legacy` `characters`."""
    correct_short: float = 1.0
    """Score of a right answer of length 0."""
    correct_long: float = 0.5
    """Score of a right answer of length `max`."""
    wrong_short: float = -1.0
    """Score of a wrong answer of length 0."""
    wrong_long: float = -0.5
    """Score of a wrong answer of length `max`."""
    exceeded: float | None = None
    """Score of a completion of `max` or more in place of the cosine's end; the paper has -10."""
    legacy: bool = False
    """As open-r1: beyond `max` the cosine comes back up, and a row without a gold answer earns 1."""


class OverlongConfig(Config):
    """Settings of the reward `soft-overlong`."""

    max: int = Field(default=20_480, ge=1)
    """Tokens from which on the score is -1; set it to rollout.max_tokens."""
    cache: int = Field(default=4096, ge=1)
    """Tokens before `max` over which the score falls from 0 to -1."""

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.cache > self.max:
            raise ValueError(f"cache ({self.cache}) is above max ({self.max})")
        return self

    def misfit(self, *, prompts: int, group: int, max_tokens: int) -> tuple[str, str, str] | None:
        """No completion of the recipe is long enough to be punished."""
        del prompts, group
        if self.max - self.cache < max_tokens:
            return None
        fact = f"it begins above {self.max - self.cache} tokens, and rollout.max_tokens is {max_tokens}"
        return "max", fact, f"set max: {max_tokens} and cache: {max(1, max_tokens // 5)}"


class LenConfig(AnswerConfig):
    """Settings of the reward `len-reward`."""

    unit: Unit | None = None
    """What is counted: `tokens` where it is not set, and under `legacy` `characters`."""
    legacy: bool = False
    """As open-r1: shortest and longest are those of the whole step in place of the prompt's group, and rows without a gold answer count as right."""


def cosine_length(
    config: CosineConfig,
) -> Callable[[str, Any, int | None], float | None]:
    """Builds the reward ``long + (short - long) (1 + cos(pi L / max)) / 2`` (arXiv 2502.03373; R22).

    ``short`` and ``long`` are those of right or of wrong answers: a right answer is worth more when
    short, a wrong one costs less when long. Beyond ``max`` the score stays at ``long``. Abstains without
    a gold answer, and where tokens are counted and their number is not known.
    """

    def score(completion: str, answer: Any, tokens: int | None) -> float | None:
        gold = gold_text(answer)
        length = _length(completion, tokens, config)
        if length is None or (gold is None and not config.legacy):
            return None
        if gold is None:
            return 1.0
        if config.exceeded is not None and length >= config.max:
            return config.exceeded
        if judge(completion, gold, config).verdict.correct:
            short, long = config.correct_short, config.correct_long
        else:
            short, long = config.wrong_short, config.wrong_long
        share = length / config.max
        share = share if config.legacy else min(1.0, share)
        return long + 0.5 * (short - long) * (1.0 + math.cos(math.pi * share))

    return score


def soft_overlong(config: OverlongConfig) -> Callable[[int | None], float | None]:
    """Builds DAPO's soft punishment of overlong completions (arXiv 2503.14476, equation 13; A09).

    0 up to max - cache tokens, then ((max - cache) - L) / cache, and -1 from max on. Abstains where the
    number of tokens is not known. The part ``overlong`` does the same to the total and knows
    rollout.max_tokens by itself.
    """

    def score(tokens: int | None) -> float | None:
        if tokens is None:
            return None
        over = min(max(tokens - (config.max - config.cache), 0), config.cache)
        return -over / config.cache if over else 0.0

    return score


def len_reward(config: LenConfig) -> Callable[..., list[float | None]]:
    """Builds the length reward of Kimi k1.5 (arXiv 2501.12599; R23).

    lambda_i = 0.5 - (L_i - L_min) / (L_max - L_min) over the completions of a prompt; a right answer
    earns lambda, a wrong one min(0, lambda). If all are equally long every one earns 0. Abstains without
    a gold answer, and where tokens are counted and their number is not known.
    """

    @reward(form="group")
    def by_group(
        completions: list[str], answer: Any, tokens: Sequence[int | None]
    ) -> list[float | None]:
        gold = gold_text(answer)
        if gold is None:
            return [None] * len(completions)
        return _shares(completions, [gold] * len(completions), tokens, config)

    def by_step(
        completions: list[str], answers: Sequence[Any], tokens: Sequence[int | None]
    ) -> list[float | None]:
        return _shares(completions, [gold_text(answer) for answer in answers], tokens, config)

    return by_step if config.legacy else by_group


def _shares(
    completions: Sequence[str],
    golds: Sequence[str | None],
    tokens: Sequence[int | None],
    config: LenConfig,
) -> list[float | None]:
    lengths = [
        _length(text, count, config) for text, count in zip(completions, tokens, strict=True)
    ]
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return [None] * len(lengths)
    low, high = min(known, default=0), max(known, default=0)
    scores: list[float | None] = []
    for text, gold, length in zip(completions, golds, known, strict=True):
        share = 0.5 - (length - low) / (high - low) if high > low else 0.0
        right = gold is None or judge(text, gold, config).verdict.correct
        scores.append(share if right else min(0.0, share))
    return scores


def _length(completion: str, tokens: int | None, config: CosineConfig | LenConfig) -> int | None:
    unit = config.unit or ("characters" if config.legacy else "tokens")
    if unit == "tokens":
        return tokens
    return len(completion) if unit == "characters" else len(completion.split())

"""The gold text, or a given one, occurs in the completion as a word of its own.

Easy to game: a completion that lists every candidate contains the right one. Use it to measure, with
weight 0, or for words that cannot be guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.api import Config, strip_thinking

__all__ = ["ContainsConfig", "contains"]


class ContainsConfig(Config):
    """Settings of the reward `contains`."""

    text: str | None = None
    """What must occur; the column `answer` when left out."""
    ignore_case: bool = False
    """Search without regard to upper and lower case."""


def contains(config: ContainsConfig) -> Callable[..., float]:
    """Builds the reward: 1 if it occurs outside thinking blocks, else 0."""

    def normal(text: str) -> str:
        return text.casefold() if config.ignore_case else text

    def search(completion: str, wanted: str) -> float:
        wanted = normal(wanted.strip())
        if not wanted:
            raise ValueError("the text to look for is empty")
        text = strip_thinking(completion)
        return float(text is not None and _has_word(normal(text), wanted))

    def with_answer(completion: str, answer: Any) -> float:
        return search(completion, "" if answer is None else str(answer))

    def with_text(completion: str) -> float:
        return search(completion, config.text or "")

    return with_answer if config.text is None else with_text


def _has_word(text: str, word: str) -> bool:
    """Whether the word occurs and does not go on: 42 is not in 420, 142 or 42.5."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        if after == "." and text[end + 1 : end + 2].isdigit():
            after = "0"
        if before in (".", ",", "-") and word[0].isdigit():
            before = "0"
        if not (_joins(before, word[0]) or _joins(word[-1], after)):
            return True
        start = text.find(word, start + 1)
    return False


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum()

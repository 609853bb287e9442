"""What answers look like, beside right and wrong: how long they are, which words they use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from grpokit.answers.wrappers import CLOSE, OPEN, strip_thinking

__all__ = ["lengths", "thinks", "unclosed", "word_rates"]


def lengths(tokens: Sequence[int]) -> dict[str, Any] | None:
    """Mean, median, 95th percentile and most of answers' tokens; None without answers.

    A percentile is the smallest length that at least so many answers do not exceed.
    """
    if not tokens:
        return None
    ordered = sorted(tokens)
    return {
        "mean": fmean(ordered),
        "median": ordered[_rank(0.5, len(ordered))],
        "p95": ordered[_rank(0.95, len(ordered))],
        "most": ordered[-1],
    }


def _rank(share: float, n: int) -> int:
    return max(0, -int(-share * n // 1) - 1)


def thinks(text: str) -> bool:
    """Whether a thinking block begins or ends in it."""
    return OPEN in text or CLOSE in text


def unclosed(text: str) -> bool:
    """Whether a thinking block is still open at the end."""
    return strip_thinking(text) is None


def word_rates(
    words: Sequence[str], texts: Sequence[str], tokens: int
) -> dict[str, dict[str, float]]:
    """Of each word: how often it stands in the texts, how often in 1000 ``tokens``, and in which share of texts.

    Whole words. One that is written with a capital counts only so, which for "Now" is mostly where a sentence
    begins; one in small letters counts in any case. Words are what somebody named: no verdict about reasoning.
    """
    found = {}
    for word in words:
        flags = re.IGNORECASE if word == word.lower() else 0
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", flags)
        counts = [sum(1 for _ in pattern.finditer(text)) for text in texts]
        found[word] = {
            "count": sum(counts),
            "per_1000_tokens": 1000 * sum(counts) / tokens if tokens else 0.0,
            "share": sum(map(bool, counts)) / len(texts) if texts else 0.0,
        }
    return found

"""What answers look like, beside right and wrong: how long they are, and how much they repeat."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

__all__ = ["GRAM", "lengths", "repetition"]

GRAM = 4
"""Words of a run whose repetition counts."""


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


def repetition(text: str) -> float:
    """The share of runs of four words that the text has held before; 0.0 for fewer than five words.

    Words are what spaces separate. A text that says one sentence ten times has about 0.9.
    """
    words = text.split()
    grams = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0

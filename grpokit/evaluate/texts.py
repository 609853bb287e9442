"""What answers look like, beside right and wrong: how long they are."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

__all__ = ["lengths"]


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

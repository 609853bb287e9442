"""What the paper reports: arXiv 2503.22342 version 1, tables 1 (GSM8K), 2 (MATH) and 5 (parts, MATH).

One run a row, and no interval. Accuracy is that of the best of many evaluations on the test set; time is
that of training, generation included. Speed-ups are the quotients of the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BASE_GSM8K", "BASE_MATH", "GSM8K", "MATH", "SOURCE", "Figure"]

SOURCE = "arXiv 2503.22342, tables 1, 2 and 5"

BASE_GSM8K, BASE_MATH = 0.5572, 0.5520
"""Accuracy before training."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of a table.

    Attributes:
        accuracy: share of the test questions.
        seconds: of training.
        ratio: GRPO's seconds over these.
    """

    accuracy: float
    seconds: float
    ratio: float


Key = tuple[float, bool]
"""Pruning rate, and whether freed places go to further questions."""


def _table(rows: Mapping[Key, tuple[float, float]]) -> dict[Key, Figure]:
    first = rows[0.0, False][1]
    return {
        key: Figure(accuracy=accuracy / 100, seconds=seconds, ratio=first / seconds)
        for key, (accuracy, seconds) in rows.items()
    }


GSM8K = _table(
    {
        (0.0, False): (77.05, 23393),
        (0.5, True): (77.67, 12930),
        (0.75, True): (78.81, 7159),
        (0.875, True): (80.41, 4781),
        (0.9375, True): (78.20, 2813),
    }
)
"""Table 1: Qwen2.5-1.5B-Instruct, group 16."""
MATH = _table(
    {
        (0.0, False): (75.20, 33902),
        (0.5, False): (75.80, 27547),
        (0.5, True): (75.20, 20550),
        (0.75, True): (77.20, 12959),
        (0.875, True): (75.20, 9657),
        (0.9375, True): (72.80, 8375),
    }
)
"""Table 2, and from table 5 the row without allocation: Qwen2.5-7B-Instruct, group 16, MATH-500."""

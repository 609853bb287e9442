"""Whether the confidence that answers state is the share of them that is right.

Brier       the mean of (confidence - right)^2; 0 is best, 0.25 is a coin that says 0.5
ECE         expected calibration error: |mean confidence - share of right| over bins, weighted by their answers
AUROC       the chance that a right answer states more confidence than a wrong one; a tie is half
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from grpokit.evaluate.intervals import Interval

__all__ = ["BINS", "auroc", "brier", "calibration", "ece", "reliability"]

BINS = 15
DRAWS = 500
SEED = 20250721

Pair = tuple[float, bool]
"""The confidence that an answer states, and whether it is right."""


def calibration(questions: Sequence[Sequence[Pair]]) -> dict[str, Any] | None:
    """All of it, of the answers that state a confidence, by question; None without any.

    The interval of the ECE is a bootstrap over questions, and no more than a hint: the ECE is never negative, so
    it is too high for few answers. The counts of the bins say how few.
    """
    pairs = [pair for question in questions for pair in question]
    if not pairs:
        return None
    return {
        "answers": len(pairs),
        "confidence": fmean(said for said, _ in pairs),
        "accuracy": fmean(right for _, right in pairs),
        "brier": brier(pairs),
        "ece": ece(pairs),
        "ece_interval": list(_bootstrap([q for q in questions if q])),
        "ece_equal_mass": _error(_masses(pairs), len(pairs)),
        "auroc": auroc(pairs),
        "bins": reliability(pairs),
    }


def brier(pairs: Sequence[Pair]) -> float:
    return fmean((said - right) ** 2 for said, right in pairs)


def ece(pairs: Sequence[Pair]) -> float:
    """Over 15 bins of equal width."""
    return _error(_widths(pairs), len(pairs))


def auroc(pairs: Sequence[Pair]) -> float | None:
    """By ranks, n log n; None where all answers are right or all are wrong."""
    right = sum(good for _, good in pairs)
    if right in (0, len(pairs)):
        return None
    below, wins = 0, 0.0  # wrong answers with less confidence
    for _, group in groupby(sorted(pairs), key=lambda pair: pair[0]):
        marks = [good for _, good in group]
        good, bad = sum(marks), len(marks) - sum(marks)
        wins += good * (below + bad / 2)
        below += bad
    return wins / (right * (len(pairs) - right))


def reliability(pairs: Sequence[Pair]) -> list[dict[str, float]]:
    """The bins of equal width that hold answers: their limits, answers, mean confidence and share of right ones."""
    return [
        {
            "from": at / BINS,
            "to": (at + 1) / BINS,
            "answers": len(held),
            "confidence": fmean(said for said, _ in held),
            "accuracy": fmean(right for _, right in held),
        }
        for at, held in enumerate(_widths(pairs))
        if held
    ]


def _place(said: float) -> int:
    return min(int(said * BINS), BINS - 1)


def _widths(pairs: Sequence[Pair]) -> list[list[Pair]]:
    bins: list[list[Pair]] = [[] for _ in range(BINS)]
    for pair in pairs:
        bins[_place(pair[0])].append(pair)
    return bins


def _masses(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Up to 15 bins of as many answers each as can be; answers of one confidence stay together."""
    bins: list[list[Pair]] = []
    seen = 0
    for _, group in groupby(sorted(pairs), key=lambda pair: pair[0]):
        held = list(group)
        if not bins or seen * BINS >= len(bins) * len(pairs):
            bins.append([])
        bins[-1] += held
        seen += len(held)
    return bins


def _error(bins: Sequence[Sequence[Pair]], n: int) -> float:
    return sum(abs(sum(said - right for said, right in held)) for held in bins) / n


def _bootstrap(questions: Sequence[Sequence[Pair]]) -> Interval:
    """2.5 % to 97.5 % of the ECE over 500 draws of as many questions."""
    sums = [[(_place(said), said - right) for said, right in question] for question in questions]
    source = random.Random(SEED)  # noqa: S311  (no secret)
    found = []
    for _ in range(DRAWS):
        gaps, n = [0.0] * BINS, 0
        for question in source.choices(sums, k=len(sums)):
            n += len(question)
            for place, gap in question:
                gaps[place] += gap
        found.append(sum(map(abs, gaps)) / n)
    found.sort()
    return found[int(0.025 * DRAWS)], found[int(0.975 * DRAWS) - 1]

"""Advantages of a group without torch, and which formula gives those that a run has saved.

Which formula a run used is not read from its recipe: an algorithm may be a plugin's, or changed since.
It is found in the rollouts. A formula is the run's if it gives the saved advantages of every group
that says something, from the saved totals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

__all__ = ["RULES", "RuleFinder", "centred", "sign"]

Totals = Sequence[float | None]
Rule = Callable[[Totals], list[float]]
TOLERANCE = 1e-3
"""Of the largest advantage of the group; the run computed in float32."""
ROUNDING = 1e-6
"""Of the same: below it a saved advantage has no sign."""


def centred(totals: Totals) -> list[float]:
    """``A_i = r_i - mean r``; 0 without a total, and 0 for all if the totals are equal.

    What differs from the mean by rounding only has no sign: it is 0.
    """
    known = [total for total in totals if total is not None]
    if len(known) < 2:
        return [0.0] * len(totals)
    scale = max(1.0, *map(abs, known))
    if not max(known) - min(known) > 1e-12 * scale:
        return [0.0] * len(totals)
    mean = math.fsum(known) / len(known)
    shifted = [0.0 if total is None else total - mean for total in totals]
    return [value if abs(value) > 1e-12 * scale else 0.0 for value in shifted]


def _zscore(ddof: int, eps: float) -> Rule:
    def rule(totals: Totals) -> list[float]:
        found = centred(totals)
        count = sum(total is not None for total in totals)
        square = math.fsum(value * value for value in found)
        scale = math.sqrt(square / max(1, count - ddof)) + eps
        return [value / scale if value else 0.0 for value in found]

    return rule


def _leave_one_out(totals: Totals) -> list[float]:
    count = sum(total is not None for total in totals)
    factor = count / max(1, count - 1)
    return [value * factor for value in centred(totals)]


RULES: Mapping[str, Rule] = {
    "(r - group mean) / (sample std + 1e-4)": _zscore(1, 1e-4),
    "(r - group mean) / (sample std + 1e-6)": _zscore(1, 1e-6),
    "(r - group mean) / (population std + 1e-4)": _zscore(0, 1e-4),
    "(r - group mean) / (population std + 1e-6)": _zscore(0, 1e-6),
    "r - group mean": centred,
    "n / (n - 1) (r - group mean)": _leave_one_out,
}
"""What is tried, in this order: GRPO as in TRL and verl, Dr. GRPO, RLOO."""


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


class RuleFinder:
    """Strikes out formulas that do not give the saved advantages."""

    def __init__(self) -> None:
        self._left = dict(RULES)
        self.groups = 0
        self.signs = 0
        self.signs_agree = 0

    def add(self, totals: Totals, saved: Sequence[float]) -> None:
        """Takes one group that took part in its step. Groups of equal totals say nothing."""
        shift = centred(totals)
        if not any(shift):
            return
        self.groups += 1
        self.signs += len(saved)
        largest = max(map(abs, saved), default=0.0)
        bound = TOLERANCE * largest + 1e-9
        self.signs_agree += sum(
            sign(mine) == sign(own if abs(own) > ROUNDING * largest else 0.0)
            for mine, own in zip(shift, saved, strict=True)
        )
        for name, rule in list(self._left.items()):
            pairs = zip(rule(totals), saved, strict=True)
            if any(abs(mine - own) > bound for mine, own in pairs):
                del self._left[name]

    def found(self) -> str | None:
        """The first formula that gave every saved advantage; None if none did, or nothing was seen."""
        return next(iter(self._left), None) if self.groups else None

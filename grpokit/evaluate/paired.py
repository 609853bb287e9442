"""Base against trained on the same items: the difference, its interval and what it allows to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpokit.errors import PreflightError
from grpokit.evaluate.intervals import (
    Interval,
    mcnemar_exact,
    minimum_detectable,
    paired_difference,
)

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same n items.

    Attributes:
        gained: ids of items that only the second model answers right.
        lost: ids of items that only the first model answers right.
        difference: accuracy of the second minus that of the first.
        interval: its 95 % interval (Tango).
        p: exact McNemar p of "there is no difference".
        detectable: the smallest difference this comparison shows with 80 % power.
    """

    n: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    difference: float
    interval: Interval
    p: float
    detectable: float

    @property
    def verdict(self) -> str:
        """``improved`` or ``worse`` only where the interval excludes 0."""
        if self.interval[0] > 0:
            return "improved"
        if self.interval[1] < 0:
            return "worse"
        return "no detectable change"

    @property
    def sentence(self) -> str:
        """The verdict with what could have been seen."""
        if self.verdict != "no detectable change":
            return self.verdict
        return f"{self.verdict} (smallest detectable: {100 * self.detectable:.1f} points)"

    def as_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "difference": self.difference,
            "interval": list(self.interval),
            "mcnemar_p": self.p,
            "minimum_detectable": self.detectable,
            "verdict": self.verdict,
            "gained": list(self.gained),
            "lost": list(self.lost),
        }


def compare(first: Mapping[str, bool], second: Mapping[str, bool]) -> Comparison:
    """Pairs two evaluations (item id -> correct).

    The smallest detectable change takes the discordant share that was seen, but at least what
    one more flip would make of it, so that it is never 0.

    Raises:
        PreflightError: the two did not answer the same items.
    """
    if first.keys() != second.keys():
        only_first, only_second = first.keys() - second.keys(), second.keys() - first.keys()
        raise PreflightError(
            f"the two evaluations answer different items: {len(only_first)} only in the first, "
            f"{len(only_second)} only in the second",
            place="comparison",
            remedy="evaluate both with the same data set, prompt and limit",
        )
    gained = tuple(item for item, right in second.items() if right and not first[item])
    lost = tuple(item for item, right in first.items() if right and not second[item])
    n = len(first)
    flips = len(gained) + len(lost)
    return Comparison(
        n=n,
        gained=gained,
        lost=lost,
        difference=(len(gained) - len(lost)) / n if n else 0.0,
        interval=paired_difference(len(gained), len(lost), n),
        p=mcnemar_exact(len(gained), len(lost)),
        detectable=minimum_detectable(n, max(flips, 1) / n if n else 1.0),
    )

"""What is counted of old and new scores. Groups come one after the other and are not kept.

Memory grows with the number of *different* pairs of scores only. Beyond a million of them, pairs are
counted to six digits, then to three, and the summary says so.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grpokit.rescore.advantage import RuleFinder, centred, sign
from grpokit.scoring.rank import kendall, spearman

__all__ = ["Comparison", "Disagreement", "Side", "SignChanges"]

MANY = 1_000_000
EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Side:
    """One group's scores under one reward; ``failed`` are those that are None by a failure."""

    scores: Sequence[float | None]
    failed: Sequence[bool]


@dataclass(frozen=True, kw_only=True, order=True)
class Disagreement:
    """A completion that old and new see differently; ordered by how much."""

    flip: bool
    change: float
    order: int
    old: float = field(compare=False)
    new: float = field(compare=False)
    step: int = field(compare=False)
    group: Any = field(compare=False, repr=False)
    sample: int = field(compare=False)


@dataclass
class _Counts:
    errors: int = 0
    abstained: int = 0
    scored: int = 0

    def add(self, side: Side) -> None:
        for score, failed in zip(side.scores, side.failed, strict=True):
            self.errors += failed
            self.abstained += score is None and not failed
            self.scored += score is not None

    def rates(self) -> dict[str, Any]:
        count = self.errors + self.abstained + self.scored
        return {
            "errors": self.errors / count if count else None,
            "abstained": self.abstained / count if count else None,
        }


@dataclass
class _Within:
    """Correlations in the groups where both sides vary, and how many groups do not."""

    kendall: float = 0.0
    spearman: float = 0.0
    groups: int = 0
    only_old: int = 0
    only_new: int = 0
    neither: int = 0

    def add(self, pairs: Counter[tuple[float, float]]) -> None:
        tau = kendall(pairs)
        if tau is not None:
            self.groups += 1
            self.kendall += tau
            self.spearman += spearman(pairs) or 0.0
            return
        old, new = (len({pair[side] for pair in pairs}) > 1 for side in (0, 1))
        self.only_old += old
        self.only_new += new
        self.neither += not old and not new

    def data(self) -> dict[str, Any]:
        count = self.groups
        return {
            "kendall": self.kendall / count if count else None,
            "spearman": self.spearman / count if count else None,
            "groups": count,
            "only_old_varies": self.only_old,
            "only_new_varies": self.only_new,
            "neither_varies": self.neither,
        }


class Comparison:
    """Old against new scores of one reward, or of the totals."""

    def __init__(self, old: str, new: str, *, threshold: float | None) -> None:
        self.old, self.new, self.threshold = old, new, threshold
        self.completions = 0
        self.flips = {"right_right": 0, "right_wrong": 0, "wrong_right": 0, "wrong_wrong": 0}
        self.examples: list[Disagreement] = []
        self._counts = (_Counts(), _Counts())
        self._pairs: Counter[tuple[float, float]] = Counter()
        self._digits: int | None = None
        self._within = _Within()
        self._sums = [0.0, 0.0, 0.0]
        self._changed = 0
        self._both = 0

    def add(self, old: Side, new: Side, *, step: int, group: Any) -> None:
        """Takes one group, completion by completion in the same order."""
        self._counts[0].add(old)
        self._counts[1].add(new)
        pairs: Counter[tuple[float, float]] = Counter()
        for sample, (before, after) in enumerate(zip(old.scores, new.scores, strict=True)):
            self.completions += 1
            if before is None or after is None:
                continue
            pairs[before, after] += 1
            flip = self._flip(before, after)
            if before != after:
                self._changed += 1
                change = abs(after - before)
                item = Disagreement(
                    flip=flip,
                    change=change,
                    order=-self.completions,
                    old=before,
                    new=after,
                    step=step,
                    group=group,
                    sample=sample,
                )
                self._keep(item)
            self._both += 1
            self._sums[0] += before
            self._sums[1] += after
            self._sums[2] += abs(after - before)
        self._within.add(pairs)
        self._count(pairs)

    def _keep(self, item: Disagreement) -> None:
        """Among the examples if it is one of the largest; a text that was drawn twice stands once."""
        if len(self.examples) == EXAMPLES and item < self.examples[0]:
            return
        if any(_same(item, other) for other in self.examples):
            return
        keep = heapq.heappush if len(self.examples) < EXAMPLES else heapq.heappushpop
        keep(self.examples, item)

    def _flip(self, before: float, after: float) -> bool:
        if self.threshold is None:
            return False
        was, now = before >= self.threshold, after >= self.threshold
        words = ("wrong", "right")
        self.flips[f"{words[was]}_{words[now]}"] += 1
        return was != now

    def _count(self, pairs: Counter[tuple[float, float]]) -> None:
        if self._digits is not None:
            pairs = _rounded(pairs, self._digits)
        self._pairs.update(pairs)
        while len(self._pairs) > MANY and self._digits != 1:
            self._digits = {None: 6, 6: 3}.get(self._digits, 1)
            self._pairs = _rounded(self._pairs, self._digits)

    def data(self) -> dict[str, Any]:
        """Everything as JSON, without the texts of completions."""
        both = self._both
        flips = self.flips["right_wrong"] + self.flips["wrong_right"]
        return {
            "old": {
                "name": self.old,
                **self._counts[0].rates(),
                "mean": _over(self._sums[0], both),
            },
            "new": {
                "name": self.new,
                **self._counts[1].rates(),
                "mean": _over(self._sums[1], both),
            },
            "completions": self.completions,
            "scored_by_both": both,
            "changed": _over(self._changed, both),
            "mean_change": _over(self._sums[1] - self._sums[0], both),
            "mean_absolute_change": _over(self._sums[2], both),
            "threshold": self.threshold,
            "flips": None
            if self.threshold is None
            else {**self.flips, "share": _over(flips, both)},
            "overall": {
                "kendall": kendall(self._pairs),
                "spearman": spearman(self._pairs),
                "digits": self._digits,
            },
            "within_groups": self._within.data(),
        }

    def disagreements(self) -> list[Disagreement]:
        """The largest ones: flips first, then by the change."""
        return sorted(self.examples, reverse=True)


class SignChanges:
    """How often the advantage of a completion changes its sign, group by group of the totals."""

    def __init__(self) -> None:
        self.rule = RuleFinder()
        self.completions = self.reversed = self.lost = self.gained = 0
        self.groups = self.dead_old = self.dead_new = 0

    def add(
        self,
        old: Sequence[float | None],
        new: Sequence[float | None],
        saved: Sequence[float] | None,
    ) -> tuple[list[float], list[float]]:
        """Takes a group's totals, and its saved advantages if it took part; returns ``r - mean``."""
        if saved is not None:
            self.rule.add(old, saved)
        before, after = centred(old), centred(new)
        self.groups += 1
        self.dead_old += not any(before)
        self.dead_new += not any(after)
        for first, second in zip(map(sign, before), map(sign, after), strict=True):
            self.completions += 1
            self.reversed += first * second < 0
            self.lost += first != 0 and second == 0
            self.gained += first == 0 and second != 0
        return before, after

    def data(self) -> dict[str, Any]:
        count = self.completions
        rule = self.rule.found()
        return {
            "advantage": rule or "the sign of r - group mean",
            "advantage_is_the_runs": rule is not None,
            "saved_signs_agree": _over(self.rule.signs_agree, self.rule.signs),
            "groups_that_say": self.rule.groups,
            "completions": count,
            "reversed": _over(self.reversed, count),
            "lost": _over(self.lost, count),
            "gained": _over(self.gained, count),
            "share": _over(self.reversed + self.lost + self.gained, count),
            "dead_groups_old": _over(self.dead_old, self.groups),
            "dead_groups_new": _over(self.dead_new, self.groups),
        }


def _same(one: Disagreement, other: Disagreement) -> bool:
    texts = (item.group["completions"][item.sample]["text"] for item in (one, other))
    return (
        bool(one.group["prompt"]["index"] == other.group["prompt"]["index"]) and len({*texts}) == 1
    )


def _over(value: float, count: int) -> float | None:
    return value / count if count else None


def _rounded(pairs: Counter[tuple[float, float]], digits: int) -> Counter[tuple[float, float]]:
    found: Counter[tuple[float, float]] = Counter()
    for (x, y), count in pairs.items():
        found[_to(x, digits), _to(y, digits)] += count
    return found


def _to(value: float, digits: int) -> float:
    if not value or not math.isfinite(value):
        return value
    return float(f"{value:.{digits - 1}e}")

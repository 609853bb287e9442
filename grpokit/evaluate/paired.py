"""Base against trained on the same items: the difference, its interval and what it allows to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpokit.errors import PreflightError
from grpokit.evaluate.flips import sign_flip
from grpokit.evaluate.intervals import Interval, claim, mcnemar_exact, minimum_detectable
from grpokit.evaluate.means import difference_interval, difference_size

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same n questions.

    Attributes:
        samples: answers of each model to each question.
        gained: ids of questions that the second model answers right more often than the first.
        lost: ids of questions that the first answers right more often.
        support_gained: ids of questions that only the second ever answers right.
        support_lost: ids of questions that only the first ever answers right.
        difference: accuracy of the second minus that of the first.
        interval: its 95 % interval (Tango's, for one answer a question).
        p: of "there is no difference": McNemar's exact test, or the sign-flip test over questions or clusters
            where there are several answers or clusters.
        test: ``mcnemar`` or ``sign-flip``.
        lenient: the same with the verdicts of a lenient reward.
        detectable: the smallest difference this comparison shows with 80 % power.
    """

    n: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    difference: float
    interval: Interval
    p: float
    detectable: float
    samples: int = 1
    test: str = "mcnemar"
    support_gained: tuple[str, ...] = ()
    support_lost: tuple[str, ...] = ()
    lenient: Comparison | None = None

    @property
    def mostly_format(self) -> bool:
        """The gain is less than half as large where an answer counts wherever it stands."""
        if self.lenient is None or self.verdict != "improved":
            return False
        return self.lenient.difference < self.difference / 2

    @property
    def verdict(self) -> str:
        """``improved`` or ``worse`` only where the interval excludes 0."""
        return claim(*self.interval)

    @property
    def sentence(self) -> str:
        """The verdict with what could have been seen."""
        if self.verdict != "no detectable change":
            return self.verdict
        return f"{self.verdict} (smallest detectable: {100 * self.detectable:.1f} points)"

    def as_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "samples": self.samples,
            "difference": self.difference,
            "interval": list(self.interval),
            "p": self.p,
            "test": self.test,
            "minimum_detectable": self.detectable,
            "verdict": self.verdict,
            "gained": list(self.gained),
            "lost": list(self.lost),
            "support_gained": list(self.support_gained),
            "support_lost": list(self.support_lost),
            "lenient": self.lenient and self.lenient.as_dict(),
            "mostly_format": self.mostly_format,
        }


def compare(
    first: Mapping[str, int],
    second: Mapping[str, int],
    *,
    samples: int = 1,
    clusters: Mapping[str, str] | None = None,
) -> Comparison:
    """Pairs two evaluations: question id -> how many of ``samples`` answers are correct.

    The smallest detectable change takes the differences that were seen, but at least what one more flip
    would make of them, so that it is never 0.

    Raises:
        PreflightError: the two did not answer the same questions.
    """
    if first.keys() != second.keys():
        only_first, only_second = first.keys() - second.keys(), second.keys() - first.keys()
        raise PreflightError(
            f"the two evaluations answer different items: {len(only_first)} only in the first, "
            f"{len(only_second)} only in the second",
            place="comparison",
            remedy="evaluate both with the same data set, prompt and limit",
        )
    ids = list(first)
    gaps = {each: int(second[each]) - int(first[each]) for each in ids}
    plain = samples == 1 and clusters is None
    gained = tuple(each for each in ids if gaps[each] > 0)
    lost = tuple(each for each in ids if gaps[each] < 0)
    shares = ([first[each] / samples for each in ids], [second[each] / samples for each in ids])
    labels = None if clusters is None else [clusters[each] for each in ids]
    return Comparison(
        n=len(ids),
        samples=samples,
        gained=gained,
        lost=lost,
        support_gained=tuple(each for each in ids if second[each] and not first[each]),
        support_lost=tuple(each for each in ids if first[each] and not second[each]),
        difference=sum(gaps.values()) / (samples * len(ids)) if ids else 0.0,
        interval=difference_interval(*shares, samples=samples, clusters=labels),
        p=mcnemar_exact(len(gained), len(lost))
        if plain
        else sign_flip(_by_cluster(gaps, clusters)),
        test="mcnemar" if plain else "sign-flip",
        detectable=_detectable(
            gaps, samples, difference_size(*shares, samples=samples, clusters=labels)
        ),
    )


def _by_cluster(gaps: Mapping[str, int], clusters: Mapping[str, str] | None) -> list[int]:
    if clusters is None:
        return list(gaps.values())
    sums: dict[str, int] = {}
    for each, gap in gaps.items():
        sums[clusters[each]] = sums.get(clusters[each], 0) + gap
    return list(sums.values())


def _detectable(gaps: Mapping[str, int], samples: int, size: float) -> float:
    """In as many independent questions as these are worth, with the share of flips that was seen."""
    if not gaps:
        return 1.0
    flips = sum(map(abs, gaps.values())) / (samples * len(gaps))
    return minimum_detectable(size, max(flips, 1 / len(gaps)))

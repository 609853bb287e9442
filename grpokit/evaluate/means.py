"""Intervals for shares that are known by question, and not only right or wrong.

With several answers a question, accuracy is a mean of shares, and so is pass@k. Questions are the unit: ten
answers to one question are not ten questions. Both intervals are those of :mod:`grpokit.evaluate.intervals`, for
as many independent questions, each right or wrong, as would give the mean the variance it has: n / effect,
with Kish's design effect (1 for shares of 0 and 1, 1 / samples where all questions are equally hard, more than 1
where questions come in clusters). Few questions tell little of their variance, so one of design effect 1 is put
to those that do tell. Where all shares are equal a t interval or a bootstrap would be +-0; these are not.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import fmean

from grpokit.evaluate.intervals import Interval, paired_difference, wilson_of

__all__ = ["difference_interval", "difference_size", "effective_size", "share_interval"]


def share_interval(
    shares: Sequence[float],
    *,
    samples: int = 1,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """The interval of the mean of ``shares``, a number from 0 to 1 for each question.

    With one answer a question and no clusters this is Wilson's.

    Args:
        shares: of correct answers, or pass@k, by question.
        samples: answers that a share comes from.
        clusters: of each question, where some belong together (paraphrases, parts of one problem).

    Raises:
        ValueError: a share outside [0, 1], or not one cluster a question.
    """
    if any(not 0 <= share <= 1 for share in shares):
        raise ValueError("a share lies outside 0 to 1")
    if not shares:
        return 0.0, 1.0
    size = effective_size(shares, samples=samples, clusters=clusters)
    return wilson_of(fmean(shares), size, level)


def effective_size(
    shares: Sequence[float], *, samples: int = 1, clusters: Sequence[Hashable] | None = None
) -> float:
    """How many independent questions, right or wrong, tell as much as ``shares`` do.

    The number of clusters where all shares are 0 or all are 1.
    """
    mean = fmean(shares)
    groups = _grouped(shares, clusters)
    known = min(
        sum(any(share > 0 for share in group) for group in groups),
        sum(any(share < 1 for share in group) for group in groups),
    )
    plain = clusters is None and samples == 1
    return len(shares) / _effect(groups, mean * (1 - mean), known, samples, plain=plain)


def difference_interval(
    first: Sequence[float],
    second: Sequence[float],
    *,
    samples: int = 1,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Interval:
    """The interval of the mean of ``second`` minus ``first``, shares of the same questions.

    With one answer a question and no clusters this is Tango's.

    Args:
        first: shares of one model by question; ``second`` of the other, in the same order.
        samples: answers that a share comes from.
        clusters: of each question, where some belong together.

    Raises:
        ValueError: not equally many.
    """
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    if not gaps:
        return -1.0, 1.0
    if samples == 1 and clusters is None:
        gained, lost = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
        return paired_difference(gained, lost, len(gaps), level)
    up, down = _moves(gaps)
    size = difference_size(first, second, samples=samples, clusters=clusters)
    return paired_difference(up * size, down * size, size, level)


def difference_size(
    first: Sequence[float],
    second: Sequence[float],
    *,
    samples: int = 1,
    clusters: Sequence[Hashable] | None = None,
) -> float:
    """How many independent pairs of right or wrong tell as much of the difference as these shares do."""
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    if not gaps:
        return 0.0
    up, down = _moves(gaps)
    groups = _grouped(gaps, clusters)
    known = sum(any(group) for group in groups)
    whole = up + down - (up - down) ** 2
    plain = clusters is None and samples == 1
    return len(gaps) / _effect(groups, whole, known, samples, plain=plain)


def _moves(gaps: Sequence[float]) -> tuple[float, float]:
    """Mean gain and mean loss."""
    return fmean(max(gap, 0.0) for gap in gaps), fmean(max(-gap, 0.0) for gap in gaps)


def _grouped(values: Sequence[float], clusters: Sequence[Hashable] | None) -> list[list[float]]:
    if clusters is None:
        return [[value] for value in values]
    found: dict[Hashable, list[float]] = {}
    for label, value in zip(clusters, values, strict=True):
        found.setdefault(label, []).append(value)
    return list(found.values())


def _effect(
    groups: Sequence[Sequence[float]], whole: float, known: int, samples: int, *, plain: bool
) -> float:
    """The design effect: the variance of the mean over ``whole`` / n, that of yes-or-no values.

    Drawn towards that of one answer a question by a cluster's worth, as ``known`` clusters tell of it.
    """
    n, count = sum(map(len, groups)), len(groups)
    largest = n / count
    if plain:
        return 1.0
    if known == 0 or whole <= 0 or count < 2:
        return largest
    mean = fmean(value for group in groups for value in group)
    variance = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
    variance *= count / (count - 1) / n**2
    effect = max(variance * n / whole, 1 / samples)
    return (known * effect + largest) / (known + 1)

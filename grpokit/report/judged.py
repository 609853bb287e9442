"""Stored evaluations of runs against each other: question by question within, and over training seeds.

Two things make a difference uncertain. Other questions would give other answers: the interval within questions,
of these very models. Another training seed would give another model: the interval over seeds, which needs
several runs of each recipe. Both are told; one does not stand for the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from grpokit.errors import GrpokitError
from grpokit.evaluate.fingerprints import differences
from grpokit.evaluate.intervals import claim
from grpokit.evaluate.means import difference_interval
from grpokit.evaluate.paired import Comparison, compare
from grpokit.evaluate.records import Evaluation
from grpokit.evaluate.several import holm
from grpokit.evaluate.spread import difference_of_means, expected
from grpokit.evaluate.stored import Stored, read_stored
from grpokit.report.exams import Candidate, Told, candidates, common_exam
from grpokit.report.recipes import Labelled

__all__ = ["evaluations"]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The evaluation of a run that is compared."""

    run: Labelled
    stored: Stored
    base: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        known = self.stored.evaluation
        return {
            "run": self.run.label,
            "folder": str(self.stored.folder),
            "model": known.label,
            "questions": len(known.counts),
            "samples": known.samples,
            "accuracy": known.accuracy,
            "interval": list(known.interval),
            "base": None if self.base is None else self.base.get("accuracy"),
            "truncated": known.truncated,
            "not_scored": known.failed,
        }


@dataclass(frozen=True, kw_only=True)
class _Pair:
    first: _Found
    second: _Found
    comparison: Comparison | None
    mismatch: Mapping[str, tuple[Any, Any]]
    refused: str = ""
    left_out: int = 0

    @property
    def between(self) -> bool:
        """Two recipes, not two seeds of one."""
        return self.first.run.group != self.second.run.group

    def as_dict(self, adjusted: float | None) -> dict[str, Any]:
        found = self.comparison
        same_texts = all(
            a.text == b.text and a.id == b.id
            for a, b in zip(
                self.first.stored.evaluation.items,
                self.second.stored.evaluation.items,
                strict=False,
            )
        )
        return {
            "first": self.first.run.label,
            "second": self.second.run.label,
            "seeds_of_one_recipe": not self.between,
            "mismatch": {key: list(pair) for key, pair in self.mismatch.items()},
            "refused": self.refused or None,
            "left_out": self.left_out,
            "same_answers": same_texts,
            "comparison": None
            if found is None
            else {**found.as_dict(), "p_holm": adjusted, "sentence": found.sentence},
        }


def evaluations(runs: Sequence[Labelled], *, allow_mismatch: bool = False) -> dict[str, Any]:
    """What the newest comparable evaluations of the runs say; a run may have none.

    ``allow_mismatch``: compares on the questions that both answered where more differs than the model.
    """
    listed = {each.label: candidates(each.run) for each in runs}
    reference = common_exam(list(listed.values()))
    found: list[_Found] = []
    problems: list[str] = []
    for each in runs:
        chosen, broken = _chosen(each, listed[each.label], reference)
        problems += broken
        if chosen is not None:
            found.append(chosen)
    pairs = [_pair(a, b, allow=allow_mismatch) for a, b in combinations(found, 2)]
    tested = [pair.comparison.p for pair in pairs if pair.comparison is not None]
    adjusted = iter(holm(tested))
    return {
        "runs": [each.as_dict() for each in found],
        "without": [each.label for each in runs if each.label not in {f.run.label for f in found}],
        "problems": problems,
        "pairs": [pair.as_dict(next(adjusted) if pair.comparison else None) for pair in pairs],
        "recipes": list(_recipes(pairs)),
        "allow_mismatch": allow_mismatch,
    }


def _chosen(
    each: Labelled, candidates: Sequence[Candidate], reference: Told | None
) -> tuple[_Found | None, list[str]]:
    """The first that took the same exam as the others and can be read, else the first at all."""
    problems = []
    fits = [c for c in candidates if reference and differences(reference, c.told).comparable]
    for candidate in (*fits, *(c for c in candidates if c not in fits)):
        try:
            stored = read_stored(candidate.folder)
        except GrpokitError as error:
            problems.append(f"{each.label}: eval/{candidate.folder.name}: {error.fact}")
            continue
        return _Found(run=each, stored=stored[-1], base=candidate.base), problems
    return None, problems


# ----------------------------------------------------------------------------- two runs


def _pair(first: _Found, second: _Found, *, allow: bool) -> _Pair:
    found = differences(first.stored.told, second.stored.told)
    pair = _Pair(first=first, second=second, comparison=None, mismatch=found.exam)
    if found.exam and not allow:
        return replace(pair, refused="they differ in more than the model")
    ours, theirs = first.stored.evaluation, second.stored.evaluation
    if ours.samples != theirs.samples:
        often = f"{ours.samples} and {theirs.samples}"
        return replace(pair, refused=f"they answered each question {often} times")
    common = [each for each in ours.counts if each in theirs.counts]
    if not common:
        return replace(pair, refused="they have no question in common")
    comparison = compare(
        {each: ours.counts[each] for each in common},
        {each: theirs.counts[each] for each in common},
        samples=ours.samples,
        clusters=ours.clusters,
    )
    left_out = len(ours.counts) + len(theirs.counts) - 2 * len(common)
    return replace(pair, comparison=comparison, left_out=left_out)


# ----------------------------------------------------------------------------- two recipes


def _recipes(pairs: Sequence[_Pair]) -> Iterator[dict[str, Any]]:
    """A comparison for each two recipes whose runs all compare."""
    by_groups: dict[tuple[str, str], list[_Pair]] = {}
    for pair in pairs:
        if pair.between:
            first, second = sorted((pair.first, pair.second), key=lambda f: _order(f.run.group))
            key = (first.run.group, second.run.group)
            by_groups.setdefault(key, []).append(replace(pair, first=first, second=second))
    for among in by_groups.values():
        if all(pair.comparison is not None for pair in among):
            ours = list({pair.first.run.label: pair.first for pair in among}.values())
            theirs = list({pair.second.run.label: pair.second for pair in among}.values())
            yield _two_recipes(ours, theirs)


def _order(letters: str) -> tuple[int, str]:
    return len(letters), letters


def _two_recipes(ours: Sequence[_Found], theirs: Sequence[_Found]) -> dict[str, Any]:
    sides = [[each.stored.evaluation for each in side] for side in (ours, theirs)]
    before, after = _by_seed(ours), _by_seed(theirs)
    over = difference_of_means(before, after)
    shares = _shares(sides)
    within = difference_interval(
        shares[0],
        shares[1],
        # Those of the side that has more: with 1 the shares would be taken for right or wrong.
        samples=max(len(side) * side[0].samples for side in sides),
        clusters=_clusters(sides),
    )
    return {
        "first": ours[0].run.group,
        "second": theirs[0].run.group,
        "runs": [len(ours), len(theirs)],
        "seeds": [len(before), len(after)],
        "means": [fmean(before), fmean(after)],
        "ranges": [[min(before), max(before)], [min(after), max(after)]],
        "difference": fmean(after) - fmean(before),
        "interval_within_questions": list(within),
        "interval_over_seeds": None if over is None else list(over),
        "expected": _expected(ours, theirs),
        "verdict": "no interval over seeds" if over is None else claim(*over),
        "questions": len(shares[0]),
    }


def _by_seed(side: Sequence[_Found]) -> list[float]:
    """An accuracy a seed: a run that was made twice with one seed tells nothing of other seeds."""
    found: dict[object, list[float]] = {}
    for each in side:
        found.setdefault(each.run.run.seed, []).append(each.stored.evaluation.accuracy)
    return [fmean(values) for values in found.values()]


def _expected(ours: Sequence[_Found], theirs: Sequence[_Found]) -> dict[str, Any] | None:
    """Where another seed of the recipe with several would lie, if the other has a single one."""
    before, after = _by_seed(ours), _by_seed(theirs)
    many, single = (before, after) if len(before) > 1 else (after, before)
    if len(single) > 1 or len(set(many)) < 2:  # seeds that all agree tell no noise
        return None
    group, other = (ours, theirs) if many is before else (theirs, ours)
    low, high = expected(many) or (0.0, 1.0)
    lies = "below" if single[0] < low else "above" if single[0] > high else "within"
    return {
        "recipe": group[0].run.group,
        "interval": [low, high],
        "other": other[0].run.group,
        "lies": lies,
    }


def _common(sides: Sequence[Sequence[Evaluation]]) -> list[str]:
    """Questions that every run answered, in the order of the first."""
    everyone = [each.counts for side in sides for each in side]
    return [each for each in everyone[0] if all(each in counts for counts in everyone)]


def _shares(sides: Sequence[Sequence[Evaluation]]) -> tuple[list[float], list[float]]:
    """By question the share of right answers of a recipe's runs."""
    ids = _common(sides)
    first, second = (
        [fmean(each.counts[question] / each.samples for each in side) for question in ids]
        for side in sides
    )
    return first, second


def _clusters(sides: Sequence[Sequence[Evaluation]]) -> list[str] | None:
    known = sides[0][0].clusters
    return None if known is None else [known[each] for each in _common(sides)]

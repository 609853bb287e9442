"""Which stored evaluations of a run there are, and which exam most of the runs took."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.evaluate.fingerprints import differences
from grpokit.evaluate.stored import read_told
from grpokit.report.recipes import Labelled
from grpokit.report.series import RunSeries

__all__ = ["Candidate", "Mark", "Told", "candidates", "common_exam", "marks"]

NEWEST = 20
"""Evaluations of a run that are looked at."""
FINAL, BASE = "trained", "base"
"""What an evaluation calls the final policy, and the model that training began with."""

Told = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stored evaluation: what its summary says of the run's model, and of its base where it was asked too."""

    folder: Path
    told: Told
    base: Told | None


def candidates(run: RunSeries) -> list[Candidate]:
    """The run's own, those of the final policy first, then the newest; what cannot be read is left out."""
    found = []
    folders = sorted(run.listed.path.glob("eval/*/summary.json"), reverse=True)
    for path in folders[:NEWEST]:
        try:
            *others, told = read_told(path.parent)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        base = next((each for each in others if each.get("label") == BASE), None)
        found.append(Candidate(folder=path.parent, told=told, base=base))
    return sorted(found, key=lambda each: each.told.get("label") != FINAL)


def common_exam(listed: Sequence[Sequence[Candidate]]) -> Told | None:
    """What one evaluation says of itself that compares with those of most runs; a newest one of several."""
    best, most = None, 0
    for mine in listed:
        for each in mine:
            taken = sum(
                any(differences(each.told, other.told).comparable for other in theirs)
                for theirs in listed
            )
            if taken > most:
                best, most = each.told, taken
    return best


@dataclass(frozen=True, kw_only=True)
class Mark:
    """An accuracy with its 95 % interval, and the step whose policy it is of; 0 is the base model."""

    label: str
    step: int
    accuracy: float
    low: float
    high: float
    kind: str
    """``stored``, or ``during training``, whose questions may be others."""


def marks(runs: Sequence[Labelled]) -> list[Mark]:
    """Every accuracy of the runs that took the common exam, and those measured during training, by step."""
    listed = {each.label: candidates(each.run) for each in runs}
    exam = common_exam(list(listed.values()))
    found: dict[tuple[str, int, str], Mark] = {}
    for each in runs:
        for mark in _during(each):
            found[mark.label, mark.step, mark.kind] = mark
        for candidate in reversed(listed[each.label]):  # the newest comes last and counts
            if exam is None or not differences(exam, candidate.told).comparable:
                continue
            for told in (candidate.base, candidate.told):
                if told is not None and (stored := _stored(each, told)) is not None:
                    found[stored.label, stored.step, stored.kind] = stored
    return sorted(found.values(), key=lambda mark: (mark.kind, mark.label, mark.step))


def _stored(each: Labelled, told: Told) -> Mark | None:
    step = _step(each.run, str(told.get("label")))
    accuracy, interval = told.get("accuracy"), told.get("interval")
    if step is None or not isinstance(accuracy, float) or not isinstance(interval, list):
        return None
    try:
        low, high = (float(end) for end in interval)
    except (TypeError, ValueError):
        return None
    return Mark(label=each.label, step=step, accuracy=accuracy, low=low, high=high, kind="stored")


def _step(run: RunSeries, label: str) -> int | None:
    if label == BASE:
        return 0
    if label == FINAL:
        return run.listed.step
    found = re.fullmatch(r"step-(\d{1,12})", label)
    return int(found[1]) if found else None


def _during(each: Labelled) -> list[Mark]:
    named = [
        each.run.series.get(f"eval/{name}")
        for name in ("accuracy", "accuracy_low", "accuracy_high")
    ]
    if None in named:
        return []
    values, lows, highs = (dict(zip(s.steps, s.values, strict=True)) for s in named if s)
    return [
        Mark(
            label=each.label,
            step=step,
            accuracy=accuracy,
            low=lows.get(step, accuracy),
            high=highs.get(step, accuracy),
            kind="during training",
        )
        for step, accuracy in values.items()
    ]

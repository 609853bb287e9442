"""Evaluations read back from their two files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError
from grpokit.evaluate.records import Evaluation, Item, Measured

__all__ = ["Stored", "read_stored", "read_told"]

FIELDS = frozenset(field.name for field in fields(Item))


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One model of a stored evaluation.

    Attributes:
        folder: that holds ``samples.jsonl`` and ``summary.json``.
        told: what the summary says of the model; for :func:`grpokit.evaluate.fingerprints.differences`.
        evaluation: its answers, as they were when they were given.
    """

    folder: Path
    told: Mapping[str, Any]
    evaluation: Evaluation


def read_stored(folder: Path) -> tuple[Stored, ...]:
    """Every model of the evaluation in a folder, in the order of its summary; the one that was asked for is last.

    Raises:
        CheckpointError: a file is missing or damaged, or the two contradict each other.
    """
    try:
        models = read_told(folder)
        items = _items(folder / "samples.jsonl")
        return tuple(_one(folder, told, items.get(told["label"], [])) for told in models)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"the stored evaluation cannot be read: {why}",
            place=str(folder),
            remedy="name a folder with a whole samples.jsonl and summary.json, or evaluate again",
        ) from error


def read_told(folder: Path) -> list[Mapping[str, Any]]:
    """What the summary in a folder says of each model; small, where ``samples.jsonl`` is large.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is missing or damaged.
    """
    models = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["models"]
    for told in models:
        if not isinstance(told["fingerprint"], dict):
            raise TypeError("a fingerprint is no object")
        if not isinstance(told["label"], str) or not isinstance(told["decides"], str):
            raise TypeError("a label, or the reward that decides, is no name")
    return list(models)


def _items(path: Path) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            item = Item(**{key: value for key, value in row.items() if key in FIELDS})
            found.setdefault(row["model"], []).append(item)
    return found


def _one(folder: Path, told: Mapping[str, Any], items: list[Item]) -> Stored:
    evaluation = Evaluation(
        label=str(told["label"]),
        items=tuple(items),
        decides=str(told["decides"]),
        threshold=float(told["threshold"]),
        fingerprint=told["fingerprint"],
        seconds=float(told.get("seconds", 0.0)),
        pass_at=tuple(int(k) for k in told.get("pass_at", {"1": None})),
        measured=_measured(told.get("measured") or {}),
    )
    if (evaluation.right, len(evaluation.counts)) != (told["correct"], told["items"]):
        raise ValueError("samples.jsonl and summary.json disagree")
    _check_items(evaluation)
    return Stored(folder=folder, told=told, evaluation=evaluation)


def _measured(told: Mapping[str, Any]) -> Measured:
    return Measured(**{**told, "words": tuple(told.get("words", ()))})


def _check_items(evaluation: Evaluation) -> None:
    """What pairs are counted from: as many answers to each question, and clusters of all or of none."""
    answers = Counter(item.id for item in evaluation.items)
    if any(count != evaluation.samples for count in answers.values()):
        raise ValueError("some questions were answered more often than others")
    if any(type(item.correct) is not bool for item in evaluation.items):
        raise ValueError("an answer is neither right nor wrong")
    if evaluation.clusters is not None and len(evaluation.clusters) < len(answers):
        raise ValueError("some questions have no cluster")

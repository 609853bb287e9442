"""One evaluated item, a whole evaluation, and the two files it leaves.

eval/20260131-184502/
    samples.jsonl   a line an item and model: text, scores, correct, finish
    summary.json    accuracy with its interval, the comparison, and the fingerprint
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from grpokit.errors import CheckpointError
from grpokit.evaluate.intervals import Interval, wilson
from grpokit.evaluate.paired import Comparison, compare

__all__ = [
    "Evaluation",
    "Item",
    "compare_evaluations",
    "fresh_folder",
    "summary",
    "write_evaluation",
]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question, one answer.

    Attributes:
        id: identity of messages and gold answer; a repeated question gets ``#2``, ``#3``.
        correct: the deciding reward reached the threshold. An abstention or a failure is wrong.
        failures: rewards that could not score this answer, with the reason.
    """

    id: str
    index: int
    question: str
    answer: Any
    text: str
    tokens: int
    finish: str
    scores: Mapping[str, float | None]
    total: float | None
    correct: bool
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model on all items.

    Attributes:
        label: what the tables call the model.
        items: in the order of the data set.
        decides: name of the reward that means "correct".
        threshold: score from which an answer is correct.
        fingerprint: everything that a repetition must have in common.
        seconds: wall time of generation and scoring.
    """

    label: str
    items: tuple[Item, ...]
    decides: str
    threshold: float
    fingerprint: Mapping[str, Any]
    seconds: float = 0.0

    @property
    def right(self) -> int:
        return sum(item.correct for item in self.items)

    @property
    def accuracy(self) -> float:
        return self.right / len(self.items) if self.items else 0.0

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval of the accuracy."""
        return wilson(self.right, len(self.items))

    @property
    def truncated(self) -> float:
        """Share of answers that ran into the length limit."""
        return fmean([item.finish == "length" for item in self.items]) if self.items else 0.0

    @property
    def failed(self) -> int:
        """Items that at least one reward could not score; for the deciding one they count as wrong."""
        return sum(bool(item.failures) for item in self.items)

    @property
    def abstained(self) -> int:
        """Items to which the deciding reward does not apply; they count as wrong."""
        return sum(
            item.scores.get(self.decides) is None and self.decides not in item.failures
            for item in self.items
        )

    def rewards(self) -> dict[str, float | None]:
        """Mean score of each reward over the items it scored; None if there is none."""
        names = self.items[0].scores if self.items else ()
        return {name: self._mean_score(name) for name in names}

    def _mean_score(self, name: str) -> float | None:
        known = [score for item in self.items if (score := item.scores[name]) is not None]
        return fmean(known) if known else None

    def as_dict(self) -> dict[str, Any]:
        """What ``summary.json`` and ``--json`` say about this model."""
        return {
            "label": self.label,
            "items": len(self.items),
            "correct": self.right,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "decides": self.decides,
            "threshold": self.threshold,
            "truncated": self.truncated,
            "accuracy_not_truncated": _mean(
                [item.correct for item in self.items if item.finish != "length"]
            ),
            "rewards": self.rewards(),
            "failed": self.failed,
            "abstained": self.abstained,
            "tokens_mean": _mean([item.tokens for item in self.items]),
            "seconds": round(self.seconds, 3),
            "fingerprint": dict(self.fingerprint),
        }


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def compare_evaluations(first: Evaluation, second: Evaluation) -> Comparison:
    """Pairs two evaluations item by item.

    Raises:
        PreflightError: they did not answer the same items.
    """
    return compare(
        {item.id: item.correct for item in first.items},
        {item.id: item.correct for item in second.items},
    )


def summary(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> dict[str, Any]:
    """The content of ``summary.json``."""
    return {
        "format": 1,
        "models": [evaluation.as_dict() for evaluation in evaluations],
        "comparison": comparison.as_dict() if comparison else None,
    }


def fresh_folder(parent: Path, name: str) -> Path:
    """A new folder of that name, with a number after it if there is one already.

    Raises:
        CheckpointError: the folder cannot be made.
    """
    folder, number = parent / name, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = parent / f"{name}-{number}"
        except OSError as error:
            raise _unwritten(folder, error) from error
        else:
            return folder


def write_evaluation(
    folder: Path, evaluations: Sequence[Evaluation], comparison: Comparison | None
) -> Path:
    """Writes both files into ``folder``, each whole or not at all; returns the folder.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    lines = (
        json.dumps({"model": evaluation.label, **asdict(item)}, ensure_ascii=False, default=str)
        for evaluation in evaluations
        for item in evaluation.items
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "samples.jsonl", "".join(f"{line}\n" for line in lines))
        text = json.dumps(summary(evaluations, comparison), indent=1, default=str)
        _write(folder / "summary.json", text + "\n")
    except OSError as error:
        raise _unwritten(folder, error) from error
    return folder


def _unwritten(folder: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"the evaluation could not be written: {error.strerror or error}",
        place=str(folder),
        remedy="name a folder that can be written with --out",
    )


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    # A model may emit lone surrogates, which UTF-8 refuses.
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)

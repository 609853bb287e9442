"""One answer, a whole evaluation, and the two files it leaves.

eval/20260131-184502/
    samples.jsonl   a line an answer and model: text, scores, correct, finish
    summary.json    accuracy with its interval, the comparison, and the fingerprint
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from grpokit.errors import CheckpointError, PreflightError
from grpokit.evaluate.calibration import calibration
from grpokit.evaluate.described import described
from grpokit.evaluate.intervals import Interval
from grpokit.evaluate.means import share_interval
from grpokit.evaluate.measures import rates
from grpokit.evaluate.paired import Comparison, compare
from grpokit.evaluate.passes import pass_at_k
from grpokit.evaluate.texts import lengths
from grpokit.evaluate.votes import Ballot, ballot_of, majority_at_k
from grpokit.scoring.repeats import repetition

__all__ = [
    "Evaluation",
    "Item",
    "Measured",
    "compare_evaluations",
    "fresh_folder",
    "make_folder",
    "summary",
    "write_evaluation",
]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One answer to one question.

    Attributes:
        id: identity of messages and gold answer; a repeated question gets ``#2``, ``#3``.
        sample: which of the answers to that question this is, from 0.
        cluster: of the question, where the recipe names a column for it.
        correct: the deciding reward reached the threshold. An abstention or a failure is wrong.
        failures: rewards that could not score this answer, with the reason.
        parts: components of the deciding reward's score.
        answer: the gold answer. ``read`` is what the deciding reward reads in the text, None where it reads none.
        confidence: the chance of being right that the text states.
        lenient: whether the lenient reward takes it for right.
        unread: what of these three could not be had, with the reason.
        prompt_tokens: of the rendered question; None where that was not kept.
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
    sample: int = 0
    cluster: str | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    read: str | None = None
    confidence: float | None = None
    lenient: bool | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    prompt_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured beside right and wrong; plain data, so that a stored evaluation can say it again.

    Attributes:
        answer: the deciding reward says how it reads an answer.
        confidence: the reward that reads a confidence.
        lenient: the lenient reward in words.
        forms: rewards that look at the form alone, with their full scores.
        words: those that are counted.
    """

    answer: bool = False
    confidence: str = ""
    lenient: str = ""
    forms: Mapping[str, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model on all questions.

    Attributes:
        label: what the tables call the model.
        items: every answer, in the order of the data set; those to one question one after the other.
        decides: name of the reward that means "correct".
        threshold: score from which an answer is correct.
        fingerprint: everything that a repetition must have in common.
        seconds: wall time of generation and scoring; 0 where it is not known, after an interruption.
        asked: answers that were asked for; those that are missing were dropped.
    """

    label: str
    items: tuple[Item, ...]
    decides: str
    threshold: float
    fingerprint: Mapping[str, Any]
    seconds: float = 0.0
    pass_at: tuple[int, ...] = (1,)
    measured: Measured = Measured()
    asked: int | None = None

    @property
    def right(self) -> int:
        """Right answers, of all questions."""
        return sum(item.correct for item in self.items)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Right answers by question, in the order of the data set."""
        found: dict[str, int] = {}
        for item in self.items:
            found[item.id] = found.get(item.id, 0) + item.correct
        return found

    @property
    def samples(self) -> int:
        """Answers to each question."""
        return len(self.items) // len(self.counts) if self.items else 1

    @property
    def clusters(self) -> dict[str, str] | None:
        """The cluster of each question; None where there are none."""
        found = {item.id: item.cluster for item in self.items if item.cluster is not None}
        return found or None

    @property
    def accuracy(self) -> float:
        """The mean over questions of the share of right answers, avg@n."""
        return self.right / len(self.items) if self.items else 0.0

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the accuracy: Wilson's where questions have one answer."""
        return self._interval([count / self.samples for count in self.counts.values()])

    @property
    def passes(self) -> dict[int, tuple[float, Interval]]:
        """pass@k with its 95 % interval, by k."""
        found = {}
        for k in self.pass_at if self.items else ():
            shares = [pass_at_k(self.samples, count, k) for count in self.counts.values()]
            found[k] = (fmean(shares), self._interval(shares))
        return found

    @cached_property
    def ballots(self) -> list[Ballot]:
        """The answers to each question as a vote sees them."""
        found: dict[str, list[tuple[str | None, bool]]] = {}
        for item in self.items:
            found.setdefault(item.id, []).append((item.read, item.correct))
        return [ballot_of(answers) for answers in found.values()]

    @cached_property
    def majority(self) -> dict[int, tuple[float, Interval, bool]]:
        """maj@k with its 95 % interval, and whether all draws were counted; empty where answers are not read."""
        found = {}
        for k in self.pass_at if self.items and self.measured.answer else ():
            votes = [majority_at_k(ballot, k) for ballot in self.ballots]
            shares = [share for share, _ in votes]
            found[k] = (fmean(shares), self._interval(shares), all(exact for _, exact in votes))
        return found

    @cached_property
    def lenient(self) -> dict[str, int] | None:
        """Right answers by question where the lenient reward's verdict counts as well; None without one."""
        if not self.measured.lenient:
            return None
        found = dict.fromkeys(self.counts, 0)
        for item in self.items:
            found[item.id] += item.correct or bool(item.lenient)
        return found

    def accuracy_of(self, counts: Mapping[str, int]) -> tuple[float, Interval]:
        """The accuracy that these counts of right answers by question give, with its 95 % interval."""
        shares = [count / self.samples for count in counts.values()]
        clusters = [self.clusters[each] for each in counts] if self.clusters else None
        interval = share_interval(shares, samples=self.samples, clusters=clusters)
        return (fmean(shares) if shares else 0.0), interval

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """Brier score, ECE, AUROC; None where no answer states a confidence."""
        found: dict[str, list[tuple[float, bool]]] = {}
        for item in self.items:
            held = found.setdefault(item.id, [])
            if item.confidence is not None:
                held.append((item.confidence, item.correct))
        return calibration(list(found.values()))

    @cached_property
    def rates(self) -> dict[str, Any]:
        """What stands beside the accuracy."""
        told = self.measured
        return {
            **rates(
                self.items,
                decides=self.decides,
                reads=told.answer,
                forms=told.forms,
                words=told.words,
            ),
            "dropped": 0 if self.asked is None else self.asked - len(self.items),
        }

    def _interval(self, shares: Sequence[float]) -> Interval:
        clusters = list(self.clusters.values()) if self.clusters else None
        return share_interval(shares, samples=self.samples, clusters=clusters)

    def lengths(self, *, correct: bool) -> dict[str, Any] | None:
        """Tokens of the right or of the wrong answers."""
        return lengths([item.tokens for item in self.items if item.correct == correct])

    @property
    def truncated(self) -> float:
        """Share of answers that ran into the length limit."""
        return fmean([item.finish == "length" for item in self.items]) if self.items else 0.0

    @property
    def accuracy_not_truncated(self) -> float | None:
        """Share of right answers among those that did not run into the length limit."""
        ended = [item.correct for item in self.items if item.finish != "length"]
        return fmean(ended) if ended else None

    @cached_property
    def repetition(self) -> float | None:
        """The mean share of repeated runs of four words."""
        return fmean(repetition(item.text) for item in self.items) if self.items else None

    @property
    def failed(self) -> int:
        """Answers that at least one reward could not score; for the deciding one they count as wrong."""
        return sum(bool(item.failures) for item in self.items)

    @property
    def abstained(self) -> int:
        """Answers to which the deciding reward does not apply; they count as wrong."""
        return sum(
            item.scores.get(self.decides) is None and self.decides not in item.failures
            for item in self.items
        )

    def rewards(self) -> dict[str, float | None]:
        """Mean score of each reward over the answers it scored; None if there is none."""
        names = self.items[0].scores if self.items else ()
        return {name: self._mean_score(name) for name in names}

    def _mean_score(self, name: str) -> float | None:
        known = [score for item in self.items if (score := item.scores[name]) is not None]
        return fmean(known) if known else None

    def as_dict(self) -> dict[str, Any]:
        """What ``summary.json`` and ``--json`` say about this model."""
        return described(self)


def compare_evaluations(first: Evaluation, second: Evaluation) -> Comparison:
    """Pairs two evaluations question by question.

    Raises:
        PreflightError: they did not answer the same questions, or not equally often.
    """
    if first.samples != second.samples:
        raise PreflightError(
            f"{first.label} answered each question {first.samples} times, "
            f"{second.label} {second.samples} times",
            place="comparison",
            remedy="evaluate both with the same eval.samples",
        )
    how: dict[str, Any] = {"samples": first.samples, "clusters": first.clusters}
    found = compare(first.counts, second.counts, **how)
    if first.lenient is None or second.lenient is None:
        return found
    return replace(found, lenient=compare(first.lenient, second.lenient, **how))


def summary(
    evaluations: Sequence[Evaluation],
    comparison: Comparison | None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``summary.json``; ``more`` are further keys of it."""
    return {
        "format": 1,
        "models": [evaluation.as_dict() for evaluation in evaluations],
        "comparison": comparison.as_dict() if comparison else None,
        "overlap": None,
        **(more or {}),
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


def make_folder(folder: Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        CheckpointError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(folder, error) from error
    return folder


def write_evaluation(
    folder: Path,
    evaluations: Sequence[Evaluation],
    comparison: Comparison | None,
    more: Mapping[str, Any] | None = None,
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
    make_folder(folder)
    try:
        _write(folder / "samples.jsonl", "".join(f"{line}\n" for line in lines))
        text = json.dumps(summary(evaluations, comparison, more), indent=1, default=str)
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

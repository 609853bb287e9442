"""The reward ``majority-vote`` (TTRL, arXiv 2504.16084; SQLM)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from grpokit.api import Score, reward
from grpokit_math.extract import extract
from grpokit_math.rewards.answer import AnswerConfig
from grpokit_math.verify import verify

__all__ = ["MajorityConfig", "majority_vote"]

Scores = list[Score | None]


class MajorityConfig(AnswerConfig):
    """Settings of the reward `majority-vote`."""

    tie: Literal["abstain", "first"] = "abstain"
    """Several answers with the most votes: the group has no score, or the one that came first wins, as in the authors' code."""
    at_least: float = Field(default=0.0, ge=0, le=1)
    """Share of the group's completions that the winner needs; below it the group has no score."""


def majority_vote(config: MajorityConfig) -> Callable[[Sequence[str]], Scores]:
    """Builds the reward: 1 if the answer equals the group's most frequent one, else 0.

    Answers are equal if the grader of grpokit-math says so, either way round. A completion without an
    answer has no vote and earns 0. Without any answer, and in a group of one, nobody has a score: a
    lone vote is always right.
    """

    @reward(form="group")
    def score(completions: Sequence[str]) -> Scores:
        answers = [extract(text, config.extract, tag=config.tag).answer for text in completions]
        classes = _classes(answers, config)
        votes = sorted((classes.count(each) for each in set(classes) - {None}), reverse=True)
        if len(answers) < 2 or not votes:
            return [None] * len(answers)
        share = votes[0] / len(answers)
        tied = len(votes) > 1 and votes[0] == votes[1]
        parts = {"share": share, "tied": float(tied)}
        if share < config.at_least or (tied and config.tie == "abstain"):
            note = "no majority"
            return [Score(value=None, components=parts, note=note) for _ in answers]
        winner = max((c for c in classes if c is not None), key=lambda c: (classes.count(c), -c))
        note = f"the group says {answers[winner]!r:.80}"
        return [Score(value=float(each == winner), components=parts, note=note) for each in classes]

    return score


def _classes(answers: Sequence[str | None], config: AnswerConfig) -> list[int | None]:
    """For each answer the position of the first one that equals it."""

    def equal(one: str, other: str) -> bool:
        return any(
            verify(*pair, tolerance=config.tolerance, seconds=config.seconds).correct
            for pair in ((one, other), (other, one))
        )

    known: dict[str, int] = {}
    classes: list[int | None] = []
    for position, answer in enumerate(answers):
        if answer is None:
            classes.append(None)
            continue
        if answer not in known:
            same = (place for text, place in list(known.items()) if equal(text, answer))
            known[answer] = next(same, position)
        classes.append(known[answer])
    return classes

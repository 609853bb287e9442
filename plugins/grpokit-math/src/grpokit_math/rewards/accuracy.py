"""The answer is right, says the verifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.api import Score
from grpokit_math.rewards.answer import AnswerConfig, Judged, gold_text, judge

__all__ = ["AccuracyConfig", "accuracy"]

UNDECIDED = ("gate", "timeout", "error")
WHY = {
    "thinking": "a thinking block is still open",
    "missing": "the completion uses no such form",
    "empty": "it is empty or not closed",
    "several": "more than one number follows, or a bound",
    "negated": "the number is denied",
}


class AccuracyConfig(AnswerConfig):
    """Settings of the reward `accuracy`."""

    right: float = 1.0
    """Score of a right answer."""
    wrong: float = 0.0
    """Score of a wrong answer, and of a completion without one."""


def accuracy(config: AccuracyConfig) -> Callable[[str, Any], Score | None]:
    """Builds the reward: ``right`` if the extracted answer equals the gold answer, else ``wrong``.

    The components say how: ``answered`` is 1 where an answer was found, ``undecided`` is 1 where the
    comparison was too costly to make (the answer counts as wrong), and with a chain of several
    extractors ``extract/NAME`` is 1 for the one that fired. Abstains on a row without a gold answer.
    Source: R01 and R04 of the lecture; 1 and 0 are its scores.
    """

    def score(completion: str, answer: Any) -> Score | None:
        gold = gold_text(answer)
        if gold is None:
            return None
        judged = judge(completion, gold, config)
        return Score(
            value=config.right if judged.verdict.correct else config.wrong,
            components=_components(judged, config),
            note=_note(judged, gold, config),
        )

    return score


def _components(judged: Judged, config: AccuracyConfig) -> dict[str, float]:
    verdict, found = judged
    components = {
        "answered": float(found.answer is not None),
        "undecided": float(verdict.stage in UNDECIDED),
    }
    if len(config.extract) > 1:
        fired = found.by if found.answer is not None else ""
        components.update({f"extract/{name}": float(name == fired) for name in config.extract})
    return components


def _note(judged: Judged, gold: str, config: AccuracyConfig) -> str:
    verdict, found = judged
    if found.answer is None:
        return f"no answer ({found.by or ', '.join(config.extract)}): {WHY[found.reason]}"
    return f"{found.by}: {found.answer[:80]!r} for {gold[:80]!r}, {verdict.stage} {verdict.detail}".rstrip()

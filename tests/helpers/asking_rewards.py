"""Rewards that ask the policy, and a policy that answers by what can be counted. Loaded by workers too."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from grpokit.api import Continuation, Measurement, Rollout, Score, Wanted, reward


class Oracle:
    """A model: log-probs are minus the lengths of words, certainty is the token's number."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []

    def measure(self, rollout: Rollout, wanted: Wanted, should_stop: Any = None) -> Measurement:
        self.wanted.append(wanted)
        if should_stop is not None:
            should_stop()
        ids = [rollout.completions[p][g].token_ids for p, g in rollout.rows()]
        return Measurement(
            logprobs=tuple(tuple(-1.0 for _ in row) for row in ids) if wanted.logprobs else None,
            self_certainty=tuple(tuple(map(float, row)) for row in ids)
            if wanted.self_certainty
            else None,
            continuations=tuple(
                tuple(self.said(one) for one in row) for row in wanted.continuations
            ),
            vocabulary=99,
        )

    def said(self, one: Continuation) -> tuple[float, ...] | None:
        words = one.target.split()
        return tuple(-float(len(word)) for word in words) if words else None


def sure(self_certainty: Sequence[float], vocabulary_size: int) -> float:
    return sum(self_certainty) + vocabulary_size


def column(self_certainty: Any) -> float:
    return float(self_certainty)


def likely(completions: Sequence[str], logprobs: Sequence[Sequence[float]]) -> list[float]:
    return [sum(own) for own in logprobs]


@reward(form="group")
def together(
    completions: Sequence[str], continuation_logprobs: Sequence[Any]
) -> list[float | None]:
    return [None if not each else float(len(each)) for each in continuation_logprobs]


def answer_after(completion: str, answer: str) -> list[Continuation] | None:
    """What the rewards below want to know."""
    if completion == "nothing":
        return None
    if completion == "raise":
        raise ValueError("no continuation for me")
    if completion == "hang":
        time.sleep(60)
    if completion == "die":
        os._exit(7)
    if completion == "text":
        return ["a text"]  # type: ignore[list-item]
    if completion == "many":
        return [Continuation(before="", target="x")] * 17
    if completion == "long":
        return [Continuation(before="x" * 1_000_000, target="x")] * 2
    if completion == "surrogate":
        return [Continuation(before="\ud800", target="x")]
    return [
        Continuation(before=completion, target=answer),
        Continuation(before="", target=f"{answer} {answer}"),
    ]


def probable(completion: str, continuation_logprobs: Any) -> Score | None:
    if not continuation_logprobs:
        return None
    return Score(value=sum(continuation_logprobs[0]), note=repr(continuation_logprobs))


def asks_twice(completions: Sequence[str]) -> list[Continuation]:
    return []

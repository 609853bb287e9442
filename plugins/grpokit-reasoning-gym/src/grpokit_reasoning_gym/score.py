"""The reward: the task's checker on the extracted answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grpokit.api import last_boxed, last_tag, normal_answer, strip_thinking
from grpokit_reasoning_gym import gym
from grpokit_reasoning_gym.config import ScoreConfig
from grpokit_reasoning_gym.guard import checked

__all__ = ["answer", "build"]

Score = Callable[[str, str, Mapping[str, Any]], float]


def build(config: ScoreConfig) -> Score:
    """Builds the reward. No answer found is 0; an entry that cannot be made again is a failure.

    The library is imported here and not with the first completion, whose deadline that would cost.
    """
    gym.library()

    def score(completion: str, question: str, entry: Mapping[str, Any]) -> float:
        made, found = gym.entry_at(entry)
        if str(found["question"]) != question:
            raise ValueError(
                f"the entry of {entry['task']} is not the row's question; was the data set made with "
                f"another version of reasoning-gym than {gym.version()}?"
            )
        answer = _extract(completion, config.extract)
        if answer is None:
            return 0.0
        value = checked(entry["task"], made, found, answer)
        return value if config.partial else float(value >= 1.0)

    return score


def answer(config: ScoreConfig) -> Callable[[str], str | None]:
    """What the reward reads in a completion, for votes."""

    def read(completion: str) -> str | None:
        found = _extract(completion, config.extract)
        return None if found is None else normal_answer(found)

    return read


def _extract(completion: str, how: str) -> str | None:
    text = strip_thinking(completion)
    if text is None:
        return None
    if how == "boxed":
        return last_boxed(text)
    return last_tag(text, "answer") if how == "tag" else text.strip() or None

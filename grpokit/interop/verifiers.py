"""Rewards for verifiers (the ``verifiers.v1`` interface): ``grpokit.interop.verifiers:math_boxed``.

    [env.taskset.task.rewards]
    boxed = {fn = "grpokit.interop.verifiers:math_boxed", weight = 1.0}

The completion is the trace's last reply, the row is the task's data, and the gold answer its
``answer``, ``solution``, ``ground_truth`` or ``target``. ``score`` gives the weighted rewards of a
recipe as one function.

A reward that fails raises, which verifiers records as an error of the task. One that does not apply
returns nothing to record: verifiers adds up what is there. ``score`` raises where nothing applies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from grpokit.interop.names import dotted, find_reward, installed
from grpokit.interop.rewards import UNKNOWN, Asking, Rewards, reason, refuse
from grpokit.interop.rows import unpack, with_answer
from grpokit.interop.talk import messages_of
from grpokit.spec.flow import Scores

__all__ = ["score"]

Found = float | dict[str, float]
Function = Callable[..., Awaitable[Found]]
_cache: dict[str, Function] = {}


def __getattr__(name: str) -> Any:
    """The reward of a dotted name; verifiers asks for it by ``fn``."""
    if name.startswith("_"):
        raise AttributeError(name)
    if name not in _cache:
        entry = find_reward(name, installed())
        rewards = Rewards([{"use": entry.id, "name": dotted(entry.spec.name)}])
        _cache[name] = _function(rewards, name, _single)
        _cache[name].__qualname__ = name  # another process finds it by this name
    return _cache[name]


def score(rewards: Rewards, *, name: str = "score") -> Function:
    """The weighted rewards of a recipe as one function: verifiers adds up their parts.

    Args:
        rewards: the rewards of a recipe.
        name: its name in logs.
    """

    def parts(scores: Scores) -> Found:
        if scores.total[0][0] is None:
            raise reason(scores)
        values = {each: table[0][0] for each, table in scores.rewards.items()}
        return {
            each: scores.weights[each] * value
            for each, value in values.items()
            if value is not None
        }

    return _function(rewards, name, parts)


def _single(scores: Scores) -> Found:
    if scores.failures:
        raise reason(scores)
    value = next(iter(scores.rewards.values()))[0][0]
    return {} if value is None else value


def _function(rewards: Rewards, name: str, read: Callable[[Scores], Found]) -> Function:
    checked: list[bool] = []

    def work(asking: Asking) -> Found:
        if not checked:
            refuse(
                rewards,
                ("group", *UNKNOWN),
                "verifiers asks about one trace at a time, by its text",
            )
            checked.append(True)
        return read(rewards.score_one(asking))

    async def reward(task: Any, trace: Any) -> Found:
        # Scoring waits for a worker process: the event loop of verifiers goes on meanwhile.
        return await asyncio.to_thread(work, _asking(task, trace))

    reward.__name__ = name
    reward.__doc__ = f"The reward {name} of grpokit."
    return reward


def _asking(task: Any, trace: Any) -> Asking:
    data: Mapping[str, Any] = task.model_dump(mode="json", exclude_none=True)
    prompt = data.get("prompt") or ()
    return Asking(
        row=with_answer(unpack(data)), messages=messages_of(prompt), texts=[trace.last_reply]
    )

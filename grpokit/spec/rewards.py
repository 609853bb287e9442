"""How a reward says in which form it wants to be called, and what it can ask about its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

__all__ = ["DEADLINE", "RewardForm", "at_once_of", "form_of", "reward", "seconds_left"]

RewardForm = Literal["row", "batch", "group"]
"""``row``: one completion a call. ``batch``: all completions of a step. ``group``: those of one prompt."""

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])

_MARK = "__grpokit_form__"
_AT_ONCE = "__grpokit_at_once__"

DEADLINE: ContextVar[float | None] = ContextVar("DEADLINE", default=None)
"""When the call of a reward that runs now must be over, on ``time.monotonic()``; whoever calls sets it."""


def reward(
    *, form: RewardForm | None = None, at_once: int | None = None
) -> Callable[[AnyCallable], AnyCallable]:
    """Marks the form of a reward; without it, a parameter ``completions`` means ``batch``, else ``row``.

    ``at_once`` is for async rewards: that many calls wait at the same time, 64 if it is not said. A
    call's deadline begins when the call begins, so none pays for its place in the queue.

    @reward(form="group")
    def shortest_right(completions, answer):
        ...
        return scores          # one for each completion of the prompt
    """

    def mark(function: AnyCallable) -> AnyCallable:
        if form is not None:
            setattr(function, _MARK, form)
        if at_once is not None:
            setattr(function, _AT_ONCE, at_once)
        return function

    return mark


def form_of(function: Callable[..., Any]) -> RewardForm | None:
    """The marked form, or None where the author left it to the parameter names."""
    form: RewardForm | None = getattr(function, _MARK, None)
    return form


def at_once_of(function: Callable[..., Any], usual: int) -> int:
    """How many calls of an async reward may wait at the same time."""
    found: int = getattr(function, _AT_ONCE, usual)
    return max(1, found)


def seconds_left() -> float | None:
    """Seconds until the call of the reward that runs now is ended; None where nothing ends it.

    A reward that asks a server can then give up in time, with a reason of its own.
    """
    deadline = DEADLINE.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())

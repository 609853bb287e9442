"""How a reward says in which form it wants to be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

__all__ = ["RewardForm", "form_of", "reward"]

RewardForm = Literal["row", "batch", "group"]
"""``row``: one completion a call. ``batch``: all completions of a step. ``group``: those of one prompt."""

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])

_MARK = "__grpokit_form__"


def reward(*, form: RewardForm) -> Callable[[AnyCallable], AnyCallable]:
    """Marks the form of a reward; without it, a parameter ``completions`` means ``batch``, else ``row``.

    @reward(form="group")
    def shortest_right(completions, answer):
        ...
        return scores          # one for each completion of the prompt
    """

    def mark(function: AnyCallable) -> AnyCallable:
        setattr(function, _MARK, form)
        return function

    return mark


def form_of(function: Callable[..., Any]) -> RewardForm | None:
    """The marked form, or None where the author left it to the parameter names."""
    form: RewardForm | None = getattr(function, _MARK, None)
    return form

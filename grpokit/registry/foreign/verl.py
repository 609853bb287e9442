"""Functions of verl: ``compute_score(data_source, solution_str, ground_truth, extra_info) -> score``.

``ground_truth`` is the row's ``answer`` (in verl's own files the ``ground_truth`` inside it),
``extra_info`` the row's column of this name or else the whole row. A dict's ``score`` is the score;
its other numbers are components.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from math import isfinite
from numbers import Real
from typing import Any

from grpokit.errors import ComponentError
from grpokit.registry.foreign.reference import Reference
from grpokit.registry.foreign.settings import VerlSettings
from grpokit.registry.foreign.signature import parameters, with_signature
from grpokit.spec.contracts import Score

__all__ = ["reward"]

_GIVEN = ("data_source", "solution_str", "ground_truth", "extra_info")


def reward(
    reference: Reference, function: Callable[..., Any], settings: VerlSettings
) -> Callable[..., Any]:
    """The reward that calls the function."""
    asks = parameters(function, reference.text)
    if "solution_str" not in asks.names and not asks.everything:
        raise ComponentError(
            "it has no parameter `solution_str`, so it is no reward of verl", place=reference.text
        )
    asks.refuse_other((*_GIVEN, *settings.arguments), "verl")
    unknown = [name for name in settings.arguments if name not in asks.names]
    if unknown and not asks.everything:
        raise ComponentError(
            f"it has no parameter {', '.join(unknown)}",
            place=f"{reference.text}, with.arguments",
            remedy="remove what it does not take",
        )

    def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
        row: Mapping[str, Any] = given["row"]
        gold: Any = given.get("answer")
        extra = row.get("extra_info")
        own = {
            "data_source": row.get("data_source", settings.data_source),
            "solution_str": given["completion"],
            "ground_truth": gold["ground_truth"] if _packed(gold) else gold,
            "extra_info": extra if isinstance(extra, Mapping) else dict(row),
        }
        return asks.takes({**own, **settings.arguments})

    if inspect.iscoroutinefunction(function):

        async def later(**given: Any) -> Any:
            return _read(await function(**arguments(given)))

        made: Callable[..., Any] = later
    else:

        def now(**given: Any) -> Any:
            value = function(**arguments(given))
            return _read_later(value) if inspect.isawaitable(value) else _read(value)

        made = now
    gold = ["answer"] if "ground_truth" in asks.names or asks.everything else []
    return with_signature(made, ("completion", "row", *gold))


def _packed(gold: Any) -> bool:
    """The column ``reward_model`` of verl is a mapping."""
    return isinstance(gold, Mapping) and "ground_truth" in gold


async def _read_later(value: Awaitable[Any]) -> Any:
    return _read(await value)


def _read(value: Any) -> Any:
    if value is None:
        raise TypeError("it returned None, which is no score of verl")
    if not isinstance(value, Mapping):
        return value
    if value.get("score") is None:
        raise TypeError(f"it returned no `score` but {', '.join(map(str, value)) or 'nothing'}")
    parts = {
        str(name): float(part)
        for name, part in value.items()
        if name != "score" and isinstance(part, Real) and isfinite(part)
    }
    return Score(value=value["score"], components=parts)

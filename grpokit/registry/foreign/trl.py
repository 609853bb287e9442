"""Functions of TRL: ``f(completions, prompts, **columns) -> list of scores``, None where none applies.

They see a whole batch. A function that takes ``**kwargs`` gets every column. ``trainer_state`` is
None, ``log_metric`` and ``log_extra`` do nothing, and there are no ``completion_ids``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from grpokit.errors import ComponentError
from grpokit.registry.foreign.reference import Reference
from grpokit.registry.foreign.settings import TrlSettings
from grpokit.registry.foreign.signature import parameters, with_signature
from grpokit.registry.foreign.sniff import will_see_messages
from grpokit.spec.rewards import reward as form_mark

__all__ = ["reward"]

_GIVEN = ("completions", "prompts", "trainer_state", "log_extra", "log_metric", "environments")


def _nothing(*_: Any, **__: Any) -> None:
    """What is logged beside the score is not kept."""


def reward(
    reference: Reference, function: Callable[..., Any], settings: TrlSettings
) -> Callable[..., Any]:
    """The reward that calls the function."""
    asks = parameters(function, reference.text)
    if "completion_ids" in asks.required:
        raise ComponentError(
            "it asks for completion_ids, the tokens of completions, which rewards do not see here",
            place=reference.text,
            remedy="give the parameter a default, or read the text",
        )
    if "completions" not in asks.names and not asks.everything:
        raise ComponentError(
            "it has no parameter `completions`, so it is no reward of TRL", place=reference.text
        )
    chosen = settings.completions
    chat = will_see_messages(reference) if chosen == "auto" else chosen == "messages"
    columns = [name for name in asks.required if name not in _GIVEN]
    more = [name for name in asks.names if name not in (*_GIVEN, "completion_ids")]

    def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
        rows, texts, messages = given["rows"], given["completions"], given["messages"]
        found = {name: [row.get(name) for row in rows] for name in dict.fromkeys(_keys(rows))}
        found |= {name: given[name] for name in columns}
        said = [[{"role": "assistant", "content": text}] for text in texts] if chat else texts
        asked = messages if chat else [_last(talk) for talk in messages]
        own: dict[str, Any] = {"completions": said, "prompts": asked, "trainer_state": None}
        own |= {"log_extra": _nothing, "log_metric": _nothing, "environments": None}
        return asks.takes({**found, **own})

    if inspect.iscoroutinefunction(function):

        async def later(**given: Any) -> Any:
            return await function(**arguments(given))

        made: Callable[..., Any] = later
    else:

        def now(**given: Any) -> Any:
            return function(**arguments(given))

        made = now
    asked = ("completions", "messages", "rows")
    return form_mark(form="batch")(with_signature(made, (*asked, *columns), more))


def _keys(rows: list[Mapping[str, Any]]) -> list[str]:
    """Columns of the rows, less the names that are TRL's own."""
    return [name for row in rows for name in row if name not in ("prompt", "completion")]


def _last(messages: list[Mapping[str, Any]]) -> str:
    """The last thing that the user said."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")

"""Parameters of foreign functions, and the signature of the reward that stands before one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from grpokit.errors import ComponentError

__all__ = ["Parameters", "parameters", "with_signature"]


class Parameters:
    """What a function can be given by name."""

    def __init__(self, function: Callable[..., Any], text: str) -> None:
        try:
            found = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise ComponentError(
                f"its parameters cannot be read ({error})", place=text, remedy="name a function"
            ) from error
        named = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.names = frozenset(p.name for p in named)
        self.required = tuple(p.name for p in named if p.default is p.empty)
        self.everything = any(p.kind is p.VAR_KEYWORD for p in found)
        self.text = text
        fixed = [p.name for p in found if p.kind is p.POSITIONAL_ONLY]
        if fixed:
            raise ComponentError(
                f"it has positional-only parameters: {', '.join(fixed)}",
                place=text,
                remedy="remove the / from its signature",
            )

    def takes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """As much of this as it has parameters for."""
        if self.everything:
            return dict(given)
        return {name: value for name, value in given.items() if name in self.names}

    def refuse_other(self, known: Iterable[str], who: str) -> None:
        """Refuses required parameters that nothing provides.

        Raises:
            ComponentError: there are some.
        """
        other = [name for name in self.required if name not in set(known)]
        if other:
            raise ComponentError(
                f"it asks for {', '.join(other)}, which {who} does not give",
                place=self.text,
                remedy="give these parameters defaults",
            )


def parameters(function: Callable[..., Any], text: str) -> Parameters:
    """The parameters of a function that the recipe names as ``text``."""
    return Parameters(function, text)


def with_signature(
    reward: Callable[..., Any], required: Iterable[str], optional: Iterable[str] = ()
) -> Callable[..., Any]:
    """Says what a reward asks for, instead of its own ``**given``."""
    kind = inspect.Parameter.KEYWORD_ONLY
    asked = dict.fromkeys(required)
    more = [name for name in dict.fromkeys(optional) if name not in asked]
    listed = [
        *(inspect.Parameter(name, kind) for name in asked),
        *(inspect.Parameter(name, kind, default=None) for name in more),
    ]
    reward.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    return reward

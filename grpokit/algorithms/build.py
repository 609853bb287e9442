"""A named algorithm with replaced parts. No torch here: the engine imports this at start-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from grpokit.algorithms.axes import AXES
from grpokit.errors import ComponentError

if TYPE_CHECKING:
    from grpokit.spec.contracts import Algorithm

__all__ = ["build_algorithm", "unknown_axes"]


def build_algorithm(base: Algorithm, parts: Mapping[str, Any]) -> Algorithm:
    """The algorithm with ``parts`` (axis to callable) in place of its own.

    Raises:
        ComponentError: an axis does not exist (all of them at once), or the algorithm is not a
            composition, so that nothing of it can be replaced.
    """
    unknown = [axis for axis in parts if axis not in AXES]
    if unknown:
        raise unknown_axes(unknown)
    if parts and not hasattr(base, "replace"):
        raise ComponentError(
            f"{type(base).__name__} is not composed of parts, so {_join(parts)} cannot be replaced",
            place="algorithm.parts",
            remedy="remove algorithm.parts, or use a composed algorithm such as grpo",
        )
    built: Any = base
    for axis, part in parts.items():
        built = built.replace(axis, part)
    return cast("Algorithm", built)


def unknown_axes(names: Iterable[str]) -> ComponentError:
    """The error for axes that do not exist: which, what exists, what was perhaps meant."""
    names = list(names)
    near = {name: get_close_matches(name, AXES, n=1) for name in names}
    meant = [f"{found[0]} instead of {name}" for name, found in near.items() if found]
    return ComponentError(
        f"no such axis of an algorithm: {_join(names)}",
        place="algorithm.parts",
        remedy=f"{'use ' + ', '.join(meant) + '; ' if meant else ''}axes are {', '.join(AXES)}",
    )


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)

"""What decides the result of a run: a recipe as dotted keys. Equal keys and values are one experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.diff import leaves
from grpokit.compose.records import uses

if TYPE_CHECKING:
    from grpokit.spec.recipe import Recipe

__all__ = ["NEUTRAL", "as_values", "decides", "trains", "values_of_run"]

NEUTRAL = (
    "grpokit",
    "summary",
    "train.seed",
    "train.out",
    "train.keep",
    "train.save_every",
    "train.save_rollouts",
    "train.show_every",
    "train.on_finding",
    "eval.every",
    "scoring.",
    "callbacks.",
)
"""Keys, and prefixes ending in a dot, that decide no result; each run says its seed itself."""


def as_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys of a resolved recipe that decide what comes of it."""
    plain = json.loads(json.dumps(data, default=str))
    return {key: value for key, value in leaves(plain) if decides(key)}


def decides(key: str) -> bool:
    """Whether a key can change what comes of a recipe."""
    return not any(key == each or (each[-1] == "." and key.startswith(each)) for each in NEUTRAL)


def trains(key: str) -> bool:
    """Whether training depends on a key; an evaluation is compared by itself."""
    return decides(key) and not key.startswith("eval.")


def values_of_run(recipe: Recipe, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run: its saved recipe, with the components' settings that its plan has.

    Raises:
        KeyError, TypeError, IndexError: the plan is not of this recipe.
    """
    data: dict[str, Any] = recipe.model_dump(mode="json", by_alias=True)
    for (role, _, key, _), record in zip(uses(recipe), plan["components"], strict=False):
        if record["role"] != role:
            raise KeyError(role)
        place: Any = data
        for step in key.split("."):
            place = place[int(step)] if isinstance(place, list) else place[step]
        place["with"] = record["settings"]
    return as_values(data)

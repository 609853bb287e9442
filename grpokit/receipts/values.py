"""A recipe as dotted keys. Two recipes with the same keys and values make the same experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.diagnostics import clip
from grpokit.compose.diff import leaves
from grpokit.compose.load import resolved
from grpokit.compose.records import uses

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.spec.recipe import Recipe

__all__ = [
    "NEUTRAL",
    "Changes",
    "as_values",
    "changes",
    "decides",
    "digest",
    "values_of",
    "values_of_run",
]

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

Values = dict[str, Any]


def as_values(data: Mapping[str, Any]) -> Values:
    """The dotted keys of a resolved recipe that decide what comes of it."""
    plain = json.loads(json.dumps(data, default=str))
    return {key: value for key, value in leaves(plain) if decides(key)}


def decides(key: str) -> bool:
    """Whether a key can change what comes of a recipe."""
    return not any(key == each or (each[-1] == "." and key.startswith(each)) for each in NEUTRAL)


def values_of(loaded: Loaded) -> Values:
    """Of a recipe as it reads now, defaults of the components that are installed included."""
    return as_values(resolved(loaded))


def values_of_run(recipe: Recipe, plan: Mapping[str, Any]) -> Values:
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


def digest(values: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of the sorted values as JSON."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Changes:
    """What differs between recorded values and those of now.

    Attributes:
        changed: key -> (recorded, now); a key that is missing on one side has ``(none)`` there.
        new: keys that nobody wrote and that were not there when the receipt was made: settings that
            came since, at their defaults.
    """

    def __init__(self) -> None:
        self.changed: dict[str, tuple[Any, Any]] = {}
        self.new: dict[str, Any] = {}

    @property
    def words(self) -> list[str]:
        """``key: recorded, now`` of each change."""
        return [
            f"{clip(key, 100)} was {_shown(old)}, is {_shown(new)}"
            for key, (old, new) in self.changed.items()
        ]


def changes(
    recorded: Mapping[str, Any], now: Mapping[str, Any], origins: Mapping[str, str] | None = None
) -> Changes:
    """Compares; ``origins`` says of today's keys where each was written, or ``default``."""
    found = Changes()
    for key in dict.fromkeys((*recorded, *now)):
        if key not in recorded and (origins or {}).get(key) == "default":
            found.new[key] = now[key]
        elif key not in recorded or key not in now or not _same(recorded[key], now[key]):
            found.changed[key] = (recorded.get(key, "(none)"), now.get(key, "(none)"))
    return found


def _same(one: Any, other: Any) -> bool:
    """1 and 1.0 are one number, and true is none."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _shown(value: Any) -> str:
    return value if value == "(none)" else clip(json.dumps(value), 100)

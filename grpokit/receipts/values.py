"""A recipe as dotted keys. Two recipes with the same keys and values make the same experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.diagnostics import clip
from grpokit.compose.experiment import as_values
from grpokit.compose.load import resolved

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded

__all__ = [
    "Changes",
    "changes",
    "digest",
    "values_of",
]

Values = dict[str, Any]


def values_of(loaded: Loaded) -> Values:
    """Of a recipe as it reads now, defaults of the components that are installed included."""
    return as_values(resolved(loaded))


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

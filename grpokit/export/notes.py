"""What a target does differently, and what it cannot do at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from grpokit.errors import PreflightError

__all__ = ["Note", "Notes"]


@dataclass(frozen=True)
class Note:
    """One difference. ``missing``: the target has no counterpart, so that another algorithm runs."""

    kind: Literal["differs", "missing"]
    key: str
    text: str


@dataclass
class Notes:
    """The differences that were found, in the order of the recipe's keys."""

    found: list[Note] = field(default_factory=list)

    def differs(self, key: str, text: str) -> None:
        """The target's convention is another one, or a setting has no place there."""
        self._add(Note("differs", key, text))

    def missing(self, key: str, text: str) -> None:
        """The target cannot do this."""
        self._add(Note("missing", key, text))

    def _add(self, note: Note) -> None:
        if note not in self.found:
            self.found.append(note)

    @property
    def lacking(self) -> list[Note]:
        """What the target cannot do."""
        return [note for note in self.found if note.kind == "missing"]

    def refuse(self, target: str, name: str) -> None:
        """Refuses a recipe that is another algorithm there.

        Raises:
            PreflightError: with everything that is missing.
        """
        if self.lacking:
            raise PreflightError(
                f"{target} cannot express this recipe",
                place=name,
                remedy="--force writes the nearest, and says so in its README",
                problems=tuple(f"{note.key}: {note.text}" for note in self.lacking),
            )

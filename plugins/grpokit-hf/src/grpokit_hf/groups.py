"""Which groups of a rollout are complete while others are still being drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpokit.api import Completion
from grpokit_hf.nn.decode import Drawn

__all__ = ["Finished", "Groups"]

Finished = Callable[[int, tuple[Completion, ...]], None]
"""Takes a prompt's position and its completions."""


class Groups:
    """Takes rows as they end, and tells of a group when its last row has.

    Attributes:
        size: rows of a group.
        tell: who wants to know.
        make: what a row becomes.
    """

    def __init__(self, size: int, tell: Finished, make: Callable[[Drawn], Completion]) -> None:
        self.size, self.tell, self.make = size, tell, make
        self.rows: dict[int, dict[int, Completion]] = {}

    def ended(self, row: tuple[int, int], drawn: Drawn) -> None:
        """Row (prompt, sample) will not change any more."""
        p, g = row
        group = self.rows.setdefault(p, {})
        if g in group:
            return
        group[g] = self.make(drawn)
        if len(group) == self.size:
            self.tell(p, tuple(group[each] for each in range(self.size)))

    def part(self, rows: Sequence[tuple[int, int]], drawn: Sequence[Drawn]) -> None:
        """All of these have ended."""
        for row, one in zip(rows, drawn, strict=True):
            self.ended(row, one)

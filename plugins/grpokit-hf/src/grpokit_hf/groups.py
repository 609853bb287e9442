"""The groups of a rollout: their rows, and which are complete while others are still being drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpokit.api import Completion, Prompt, Rollout, Sampling, derive_seed
from grpokit_hf.nn.decode import Drawn

__all__ = ["Finished", "Groups", "grouped", "row_seeds", "rows_of"]

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


def rows_of(prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[int, int]]:
    """All (prompt, sample), prompt by prompt."""
    return [(p, g) for p in range(len(prompts)) for g in range(sampling.group)]


def row_seeds(
    rows: Sequence[tuple[int, int]], prompts: Sequence[Prompt], sampling: Sampling
) -> list[int]:
    """The seed of each row; no other row has a part in it."""
    return [derive_seed(sampling.seed, sampling.step, prompts[p].id, g) for p, g in rows]


def grouped(
    prompts: Sequence[Prompt],
    ids: Sequence[tuple[int, ...]],
    made: Sequence[Completion],
    sampling: Sampling,
) -> Rollout:
    """The rollout of all rows, in the order of ``rows_of``."""
    size = sampling.group
    return Rollout(
        prompts=tuple(prompts),
        prompt_ids=tuple(ids),
        completions=tuple(tuple(made[p * size : (p + 1) * size]) for p in range(len(prompts))),
        sampling=sampling,
    )

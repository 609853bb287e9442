"""The rows of a sampling batch: what each has drawn, and at which place of the batch the model has it.

A *place* is one state of the model: a prompt with some tokens behind it. Several rows may be there.

Suffixes: N rows that go on, D places, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from grpokit.api import NonFiniteError
from grpokit_hf.nn.caches import Keys

__all__ = ["Drawn", "Finished", "Rows"]

Finished = Callable[[int, list[int]], bool]
"""Whether a row ends with the last of its tokens though that is no end of a turn."""

DROP = 0.25
"""Share of places that nobody needs any more at which they are taken out."""


@dataclass
class Drawn:
    """One completion: tokens (with the ending one), log-probabilities, and whether it ended."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


class Rows:
    """The rows that are still in the batch, and what every row has produced.

    Attributes:
        index: numbers of the rows that are in the batch.
        alive: which of them have not ended.
        place: where each of them is; the prompt's place in the beginning.
        tree: rows in the same state share a place.
    """

    def __init__(
        self,
        uniforms_NT: Tensor,
        end_ids: frozenset[int],
        ended: Callable[[int, Drawn], None] | None = None,
        owners: Sequence[int] | None = None,
        *,
        tree: bool = False,
        finished: Finished | None = None,
    ) -> None:
        self.table = uniforms_NT
        self.finished = finished
        self.end_ids = end_ids
        self.ended = ended
        self.tree = tree
        self.index = list(range(len(uniforms_NT)))
        self.alive = [True] * len(self.index)
        self.place = self.index if owners is None else list(owners)
        self.count = 0
        self.drawn = [Drawn() for _ in self.index]
        self.step = 0

    def uniforms(self) -> Tensor:
        """The random number of each row for its next token."""
        return self.table[:, self.step]

    def places(self) -> Tensor:
        """Where each row is."""
        return torch.tensor(self.place, device=self.table.device)

    def record(self, token_N: Tensor, logprob_N: Tensor) -> None:
        """Adds one token to the rows that are alive; a row that has ended adds nothing."""
        pairs = zip(token_N.tolist(), logprob_N.tolist(), strict=True)
        for slot, (token, logprob) in enumerate(pairs):
            if not self.alive[slot]:
                continue
            if not math.isfinite(logprob):
                raise NonFiniteError(
                    "the model gives probabilities that are not finite",
                    place=f"token {self.step + 1} of a completion",
                    remedy="it has diverged: take an earlier checkpoint and a lower optim.lr, "
                    "or set model.dtype: float32",
                )
            row = self.index[slot]
            drawn = self.drawn[row]
            drawn.tokens.append(token)
            drawn.logprobs.append(logprob)
            if token in self.end_ids or (self.finished and self.finished(row, drawn.tokens)):
                drawn.ended = True
                self.alive[slot] = False
                if self.ended is not None:
                    self.ended(row, drawn)
        self.step += 1

    def arrange(self, cache: Keys, room: int) -> Tensor:
        """Leaves out rows that have ended and gives the others their places: the tokens fed there, (D,).

        Places are copied only where one parts into several, or where enough of them have become idle.
        """
        self.leave()
        found: dict[tuple[int, int], int] = {}
        place: list[int] = []
        parents: list[int] = []
        tokens: list[int] = []
        for slot, (row, parent) in enumerate(zip(self.index, self.place, strict=True)):
            token = self.drawn[row].tokens[-1]
            key = (parent, token if self.tree else -1 - slot)
            if key not in found:
                found[key] = len(parents)
                parents.append(parent)
                tokens.append(token)
            place.append(found[key])
        device = self.table.device
        if not self.count:
            cache.spread(parents, room)
        elif len(set(parents)) < len(parents) or len(parents) <= (1.0 - DROP) * self.count:
            cache.keep(parents, torch.tensor(parents, device=device))
        else:  # each place goes on as it is; idle ones read something
            fed = dict(zip(parents, tokens, strict=True))
            return torch.tensor([fed.get(n, tokens[0]) for n in range(self.count)], device=device)
        self.place, self.count = place, len(parents)
        return torch.tensor(tokens, device=device)

    def leave(self) -> None:
        """Takes out the rows that have ended; the places stay."""
        if all(self.alive):
            return
        slots = [slot for slot, alive in enumerate(self.alive) if alive]
        self.table = self.table[torch.tensor(slots, device=self.table.device)]
        self.index = [self.index[slot] for slot in slots]
        self.place = [self.place[slot] for slot in slots]
        self.alive = [True] * len(slots)

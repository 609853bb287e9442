"""Rows of completions as TRL's forward wants them, and which process trains which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit_hf.nn.batch import Row

__all__ = ["Packed", "mine", "pack", "stand_in"]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """N rows of prompt and completion, padded on the right to L tokens.

    With padding on the right every token has the position that it had when it was drawn.

    Attributes:
        keep: last columns whose log-probs are wanted.
        wanted_NK: the completion tokens among them, row by row.
    """

    ids_NL: Tensor
    mask_NL: Tensor
    keep: int
    wanted_NK: Tensor


def pack(rows: Sequence[Row], pad_id: int, device: torch.device, multiple: int = 1) -> Packed:
    """The rows as tensors; L is a multiple of ``multiple``."""
    full = [[*row.prompt_ids, *row.tokens] for row in rows]
    longest = -(-max(len(ids) for ids in full) // multiple) * multiple
    start = min(len(row.prompt_ids) for row in rows)
    ids_NL = torch.tensor([[*ids, *[pad_id] * (longest - len(ids))] for ids in full])
    mask_NL = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in full])
    columns_L = torch.arange(longest)
    first_N1 = torch.tensor([[len(row.prompt_ids)] for row in rows])
    wanted_NL = (columns_L >= first_N1) & mask_NL.bool()
    return Packed(
        ids_NL=ids_NL.to(device),
        mask_NL=mask_NL.to(device),
        keep=longest - start,
        wanted_NK=wanted_NL[:, start:].to(device),
    )


def mine(live: Sequence[Row], rank: int, world: int) -> frozenset[int]:
    """The rows (by index) that process ``rank`` trains: every ``world``-th of those that train."""
    return frozenset(row.index for row in live[rank::world])


def stand_in(live: Sequence[Row]) -> Row:
    """The row that a process without rows computes, so that all take part; its loss is times 0."""
    return min(live, key=lambda row: (len(row.prompt_ids) + len(row.tokens), row.index))

"""The cache of a sampling batch, in three forms, each with what its model is fed and told.

Suffixes: P prompts, N rows that continue them, K tokens of a prompt, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicCache

from grpokit_hf.nn.attention import causal_mask
from grpokit_hf.nn.batch import filler
from grpokit_hf.nn.decode_attention import Groups, Steps, Tiled, Together
from grpokit_hf.nn.keys import FixedLayer, SharedLayer
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear

__all__ = ["Keys", "SharedKeys", "StoredKeys", "left_pad"]

Prompts = Sequence[Sequence[int]]
TOGETHER = 1 << 17
"""Numbers in the prompts' keys of all rows, by layer, up to which each row has a copy of its prompt's."""


class Keys:
    """Every row has its prompt's keys and its own in one buffer of fixed length."""

    cache: Any
    layout: Any = None

    def __init__(
        self,
        layers: int,
        prompts: Prompts,
        pad_id: int,
        device: torch.device,
        mask_dtype: torch.dtype,
        dtype: torch.dtype,
    ) -> None:
        self.pad(prompts, pad_id, device)
        self.mask_dtype = mask_dtype
        rows, length = self.valid.shape
        self.cache = Cache(layers=[FixedLayer(rows, length, dtype) for _ in range(layers)])

    def pad(self, prompts: Prompts, pad_id: int, device: torch.device) -> None:
        self.ids, self.valid = left_pad(prompts, pad_id, device)
        self.lengths = self.valid.sum(dim=1)
        self.begun = False

    def first(self) -> tuple[Tensor, Tensor]:
        """Ids and positions of the prompts."""
        return self.ids, (self.valid.cumsum(dim=1) - 1).clamp_(min=0)

    def last(self, hidden: Tensor) -> Tensor:
        """hidden_PH of the prompts' last tokens."""
        return hidden[:, -1]

    def who_sees_whom(self, queries: int) -> dict[str, Any]:
        """What the model is to be told; from the second call on each row has one more token."""
        if self.begun:
            self.valid = torch.cat([self.valid, torch.ones_like(self.valid[:, :1])], dim=1)
        self.begun = True
        return {"attention_mask": self.mask(queries)}

    def mask(self, queries: int) -> Tensor:
        return causal_mask(self.valid, queries, self.mask_dtype)

    def spread(self, owners: Sequence[int], extra: int) -> None:
        """Row i continues prompt ``owners[i]`` and has room for ``extra`` more tokens."""
        index_N = torch.tensor(owners, device=self.valid.device)
        self.choose(index_N)
        for layer in self.cache.layers:
            layer.spread(index_N, extra)

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        """Row i becomes what row ``slots[i]`` was; the others are dropped."""
        self.choose(index_N)
        for layer in self.cache.layers:
            layer.keep(index_N)

    def choose(self, index_N: Tensor) -> None:
        self.valid, self.lengths = self.valid[index_N], self.lengths[index_N]


class StoredKeys(Keys):
    """The same with the model's own kind of cache: sliding windows and other special layers."""

    def __init__(self, config: Any, prompts: Prompts, pad_id: int, device: torch.device) -> None:
        self.pad(prompts, pad_id, device)
        self.cache = DynamicCache(config=config)

    def mask(self, queries: int) -> Tensor:
        return self.valid

    def spread(self, owners: Sequence[int], extra: int) -> None:
        index_N = torch.tensor(owners, device=self.valid.device)
        self.choose(index_N)
        self.cache.batch_select_indices(index_N)

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        self.choose(index_N)
        self.cache.batch_select_indices(index_N)


class SharedKeys(Keys):
    """Prompts are fed as one packed sequence; their keys stand once for all rows that continue them.

    Up to ``apart`` rows, which C code reads, no row has a copy of them, however short they are.
    """

    def __init__(
        self,
        layers: int,
        prompts: Prompts,
        device: torch.device,
        dtype: torch.dtype,
        linear: Linear,
        *,
        tiles: bool = False,
        apart: int = 0,
    ) -> None:
        rows = [
            replace(filler(0), prompt=place, prompt_ids=tuple(ids))
            for place, ids in enumerate(prompts)
        ]
        self.pack, self.tiles, self.apart = Pack.of(rows, device), tiles, apart
        self.layers = [SharedLayer(dtype) for _ in range(layers)]
        self.cache = Cache(layers=self.layers)
        self.layout = Layout(self.pack, linear, tiles=tiles, native=apart > 0)
        self.no_mask = torch.zeros(1, 1, 1, 1, device=device)
        self.lengths = torch.tensor([len(ids) for ids in prompts], device=device)
        self.owners: list[int] = []

    def first(self) -> tuple[Tensor, Tensor]:
        return self.pack.ids_L[None], self.pack.positions_L[None]

    def last(self, hidden: Tensor) -> Tensor:
        return hidden[0].index_select(0, self.pack.wanted_M)

    def who_sees_whom(self, queries: int) -> dict[str, Any]:
        return {"attention_mask": self.no_mask, "layout": self.layout}

    @property
    def filled(self) -> int:
        """Tokens that each row has added."""
        return self.layers[0].filled

    def rewind(self, filled: int) -> None:
        """Rows have added so many tokens, and what came after is forgotten."""
        for layer in self.layers:
            layer.filled = filled

    def spread(self, owners: Sequence[int], extra: int) -> None:
        longest = max(map(len, self.pack.prompts))
        places = [[*each, *[-1] * (longest - len(each))] for each in self.pack.prompts]
        places_PK = torch.tensor(places, device=self.no_mask.device)
        self.hidden = places_PK < 0
        for layer in self.layers:
            layer.spread(places_PK.clamp(min=0), extra)
        self.owners = list(range(len(places)))
        self.keep(owners, torch.tensor(owners, device=self.no_mask.device))

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        """Prompts that nobody continues any more are dropped with their rows."""
        device = self.no_mask.device
        owners = [self.owners[slot] for slot in slots]
        used = sorted(set(owners))
        renamed = {owner: place for place, owner in enumerate(used)}
        self.owners = [renamed[owner] for owner in owners]
        self.lengths = self.lengths[index_N]
        prompts_P = None
        if len(used) < len(self.hidden):
            prompts_P = torch.tensor(used, device=device)
            self.hidden = self.hidden[prompts_P]
        self.owners_N = torch.tensor(self.owners, device=device)
        self.counts_P = (~self.hidden).sum(dim=1)
        first = self.layers[0]
        together = len(slots) * first.prompt_keys[0].numel() <= TOGETHER
        together = together and len(slots) > self.apart
        for layer in self.layers:
            layer.keep(index_N, prompts_P, self.owners_N, together=together)
        hidden_PK = self.hidden if bool(self.hidden.any()) else None
        if not together:
            groups = Groups.of(self.owners, len(self.hidden), device)
            way = Tiled if self.tiles else Steps
            self.layout = way(self.layers, groups, hidden_PK)
            return
        seen_N11K = None
        if hidden_PK is not None:
            seen = functional.pad(~hidden_PK[self.owners_N], (0, first.room), value=True)
            seen_N11K = seen[:, None, None]
        self.layout = Together(self.layers, seen_N11K)


def left_pad(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids ids_NL and their validity valid_NL, filled up on the left."""
    longest = max(len(row) for row in rows)
    ids = [[pad] * (longest - len(row)) + list(row) for row in rows]
    valid = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(valid, device=device)

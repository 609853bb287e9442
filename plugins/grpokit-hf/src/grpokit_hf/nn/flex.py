"""Attention over a packed sequence on a GPU: torch's flex attention with the pack's own block mask.

The sequence is a tree written depth first: a query sees a key at or before it if it is in the key's
branch. So one number a token says who sees whom: where its branch ends.

The mask is held in blocks of 128 queries and keys: none of a block, all of it, or some, and then the
numbers are looked at. It is made once a micro-batch, for all layers. The sequence is padded to whole
blocks, two at least: one compiled kernel then serves all lengths.

Torch's kernel has no gradients on a CPU. There the same blocks are spread out into a matrix, which is
slow and shows what they say.

Suffixes: L tokens of the padded sequence, B blocks of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from grpokit_hf.nn.pack import Pack

__all__ = ["BLOCK", "FlexLayout", "spread"]

BLOCK = 128
STRIP = 8
"""Blocks of queries whose pairs are looked at together."""

Sees = Callable[[Any, Any, Tensor, Tensor], Tensor]
"""(row of the batch, head, query, key) -> whether it is seen; torch's form."""


class FlexLayout:
    """A pack as flex attention needs it; the same for all layers.

    Attributes:
        pack: the pack with tokens behind its end that nobody sees.
        mask: who sees whom.
        used: layers that asked.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = padded(pack)
        self.mask = block_mask(who_sees(pack, len(self.pack.ids_L)), self.pack.ids_L)
        self.used = 0

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
    ) -> Tensor:
        """The kernel that a transformers model calls: (1, heads, L, D) in, (1, L, heads, D) out.

        All three are taken in the type of the values: rotating makes queries and keys float32 where
        autocast computes the rest in bfloat16.
        """
        self.used += 1
        query, key = query.to(value.dtype), key.to(value.dtype)
        with torch.autocast(query.device.type, enabled=False):
            if query.device.type == "cpu":
                out = self.spread_out(query, key, value, scaling)
            else:
                out = compiled()(
                    query, key, value, block_mask=self.mask, scale=scaling, enable_gqa=True
                )
        return out.transpose(1, 2)

    def spread_out(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        """The same from a matrix of all pairs."""
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=self.matrix, scale=scaling, enable_gqa=True
        )

    @cached_property
    def matrix(self) -> Tensor:
        return spread(self.mask)


@cache
def compiled() -> Callable[..., Tensor]:
    """Flex attention as a Triton kernel: compiled for the first length, and then once for all others.

    Not ``dynamic=True``, which would also leave the scale and the size of a block open. What cannot be
    compiled is an error: not compiled, it would hold all scores.
    """
    return torch.compile(flex_attention, fullgraph=True)


def padded(pack: Pack) -> Pack:
    """The pack with its sequence filled up to whole blocks."""
    length = len(pack.ids_L)
    more = max(2 * BLOCK, -(-length // BLOCK) * BLOCK) - length
    return replace(
        pack,
        ids_L=functional.pad(pack.ids_L, (0, more)),
        positions_L=functional.pad(pack.positions_L, (0, more)),
    )


def who_sees(pack: Pack, length: int) -> Sees:
    """Who sees whom among ``length`` tokens. Each token of the padding sees itself alone."""
    place_L = torch.arange(length, device=pack.last_L.device, dtype=torch.int32)
    last_L = place_L + 1
    last_L[: len(pack.last_L)] = pack.last_L.int()

    def sees(_batch: Any, _head: Any, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < last_L[key])

    return sees


def block_mask(sees: Sees, like_L: Tensor) -> BlockMask:
    """The mask in blocks, without a matrix of all pairs."""
    length = len(like_L)
    count = length // BLOCK
    key_L = torch.arange(length, device=like_L.device)
    some_BB = torch.empty(count, count, dtype=torch.bool, device=like_L.device)
    every_BB = torch.empty_like(some_BB)
    for start in range(0, count, STRIP):
        stop = min(start + STRIP, count)
        query_L = key_L[start * BLOCK : stop * BLOCK]
        seen = sees(None, None, query_L[:, None], key_L[None])
        seen = seen.view(stop - start, BLOCK, count, BLOCK)
        some_BB[start:stop] = seen.any(3).any(1)
        every_BB[start:stop] = seen.all(3).all(1)
    some, every = ordered(some_BB & ~every_BB), ordered(every_BB)
    return BlockMask.from_kv_blocks(*some, *every, BLOCK_SIZE=BLOCK, mask_mod=sees)


def ordered(table_BB: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks each block of queries has, and which; those that it has not come last."""
    order_BB = torch.argsort(table_BB.int(), dim=1, descending=True, stable=True)
    return table_BB.sum(1, dtype=torch.int32)[None, None], order_BB.int()[None, None]


def spread(mask: BlockMask) -> Tensor:
    """The matrix (L, L) that a block mask stands for, read as the kernel reads it."""
    some_BB = chosen(mask.kv_num_blocks, mask.kv_indices)
    every_BB = chosen(mask.full_kv_num_blocks, mask.full_kv_indices)
    place_L = torch.arange(some_BB.shape[0] * BLOCK, device=some_BB.device)
    seen_LL = mask.mask_mod(place_L, place_L, place_L[:, None], place_L[None])
    wide = [x.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1) for x in (some_BB, every_BB)]
    return (wide[0] & seen_LL) | wide[1]


def chosen(count: Any, index: Any) -> Tensor:
    """A table of the blocks that are listed."""
    count_B, index_BB = count[0, 0], index[0, 0].long()
    first_BB = torch.arange(index_BB.shape[1], device=index_BB.device)[None] < count_B[:, None]
    return torch.zeros_like(first_BB).scatter_(1, index_BB, first_BB)

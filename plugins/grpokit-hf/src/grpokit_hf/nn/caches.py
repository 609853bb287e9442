"""The cache of a sampling batch, in three forms, each with what says who sees whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from grpokit_hf.nn.attention import causal_mask
from grpokit_hf.nn.decode_attention import Groups, Steps
from grpokit_hf.nn.keys import FixedLayer, SharedLayer

__all__ = ["Keys", "SharedKeys", "StoredKeys"]


class Keys:
    """Every row has its prompt's keys and its own in one buffer of fixed length."""

    cache: Any

    def __init__(
        self, layers: int, valid_PL: Tensor, mask_dtype: torch.dtype, dtype: torch.dtype
    ) -> None:
        self.valid = valid_PL
        self.mask_dtype = mask_dtype
        self.cache = Cache(
            layers=[FixedLayer(len(valid_PL), valid_PL.shape[1], dtype) for _ in range(layers)]
        )
        self.begun = False

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
        self.valid = self.valid.index_select(0, index_N)
        for layer in self.cache.layers:
            layer.spread(index_N, extra)

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        """Only these rows go on."""
        self.valid = self.valid[index_N]
        for layer in self.cache.layers:
            layer.keep(index_N)


class StoredKeys(Keys):
    """The same with the model's own kind of cache: sliding windows and other special layers."""

    def __init__(self, config: Any, valid_PL: Tensor) -> None:
        self.valid = valid_PL
        self.cache = DynamicCache(config=config)
        self.begun = False

    def mask(self, queries: int) -> Tensor:
        return self.valid

    def spread(self, owners: Sequence[int], extra: int) -> None:
        index_N = torch.tensor(owners, device=self.valid.device)
        self.valid = self.valid.index_select(0, index_N)
        self.cache.batch_select_indices(index_N)

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        self.valid = self.valid[index_N]
        self.cache.batch_select_indices(index_N)


class SharedKeys(Keys):
    """Prompts' keys once, for all rows that continue them."""

    def __init__(
        self, layers: int, valid_PL: Tensor, mask_dtype: torch.dtype, dtype: torch.dtype
    ) -> None:
        self.valid = valid_PL
        self.mask_dtype = mask_dtype
        self.layers = [SharedLayer(dtype) for _ in range(layers)]
        self.cache = Cache(layers=self.layers)
        self.no_mask = torch.zeros(1, 1, 1, 1, device=valid_PL.device)
        self.steps: Steps | None = None
        self.owners: list[int] = []

    def who_sees_whom(self, queries: int) -> dict[str, Any]:
        if self.steps is None:
            return {"attention_mask": self.mask(queries)}
        return {"attention_mask": self.no_mask, "layout": self.steps}

    def spread(self, owners: Sequence[int], extra: int) -> None:
        for layer in self.layers:
            layer.spread(len(owners), extra)
        self.steps = Steps(self.layers, self.valid)
        self.owners = list(owners)
        self.steps.groups = Groups.of(self.owners, len(self.valid), self.valid.device)

    def keep(self, slots: Sequence[int], index_N: Tensor) -> None:
        """Prompts that nobody continues any more are dropped with their rows."""
        assert self.steps is not None
        owners = [self.owners[slot] for slot in slots]
        used = sorted(set(owners))
        prompts_P = None
        if len(used) < len(self.valid):
            prompts_P = torch.tensor(used, device=self.valid.device)
            self.valid = self.valid[prompts_P]
        for layer in self.layers:
            layer.keep(index_N, prompts_P)
        renamed = {owner: place for place, owner in enumerate(used)}
        self.owners = [renamed[owner] for owner in owners]
        self.steps.look_at(self.valid)
        self.steps.groups = Groups.of(self.owners, len(used), self.valid.device)

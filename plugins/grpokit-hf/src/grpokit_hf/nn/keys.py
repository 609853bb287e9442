"""Keys and values of attention layers, in the two forms that the backend needs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

__all__ = ["Keys", "PrefixLayer", "StoredKeys", "fixed_cache", "plain_decoder", "prefix_cache"]


class FixedLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer in buffers of fixed length, written in place (no gradients)."""

    is_sliding = False

    def __init__(self, rows: int, length: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows, self.length, self.dtype, self.filled = rows, length, dtype, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        _, heads, _, width = key_states.shape
        shape = (self.rows, heads, self.length, width)
        self.keys = torch.empty(shape, dtype=self.dtype, device=key_states.device)
        self.values = torch.empty_like(self.keys)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.filled + key_states.shape[2]
        self.keys[:, :, self.filled : end] = key_states
        self.values[:, :, self.filled : end] = value_states
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def spread(self, index_N: Tensor, extra: int) -> None:
        """Row i becomes a copy of row ``index_N[i]``, with room for ``extra`` more positions."""
        self.rows, self.length = len(index_N), self.filled + extra
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_empty(self.rows, old.shape[1], self.length, old.shape[3])
            new[:, :, : self.filled] = old[:, :, : self.filled].index_select(0, index_N)
            setattr(self, name, new)

    def keep(self, index_N: Tensor) -> None:
        self.keys, self.values = self.keys[index_N], self.values[index_N]
        self.rows = len(index_N)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return self.length

    get_max_cache_shape = get_max_length


class PrefixLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of a prompt with their gradient history; nothing is written in place.

    They are cast before rows are repeated: the gradients of a group then add up in ``dtype``.
    """

    is_sliding = False

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.keys, self.values = key_states, value_states
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        key_states, value_states = key_states.to(self.dtype), value_states.to(self.dtype)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            return key_states, value_states
        keys = torch.cat([self.keys, key_states], dim=2)
        return keys, torch.cat([self.values, value_states], dim=2)

    def spread(self, index_N: Tensor) -> None:
        self.keys = self.keys.index_select(0, index_N)
        self.values = self.values.index_select(0, index_N)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return int(self.keys.shape[2]) if self.is_initialized else 0

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


def fixed_cache(layers: int, rows: int, length: int, dtype: torch.dtype) -> Cache:
    return Cache(layers=[FixedLayer(rows, length, dtype) for _ in range(layers)])


def prefix_cache(layers: int, dtype: torch.dtype) -> Cache:
    return Cache(layers=[PrefixLayer(dtype) for _ in range(layers)])


class Keys:
    """The cache of one sampling batch, in buffers of fixed length."""

    def __init__(self, layers: int, rows: int, length: int, dtype: torch.dtype) -> None:
        self.cache = fixed_cache(layers, rows, length, dtype)

    def spread(self, index_N: Tensor, extra: int) -> None:
        for layer in self.cache.layers:
            layer.spread(index_N, extra)

    def keep(self, index_N: Tensor) -> None:
        for layer in self.cache.layers:
            layer.keep(index_N)


class StoredKeys(Keys):
    """The same with the model's own kind of cache: sliding windows and other special layers."""

    def __init__(self, config: Any) -> None:
        self.cache = DynamicCache(config=config)

    def spread(self, index_N: Tensor, extra: int) -> None:
        self.cache.batch_select_indices(index_N)

    def keep(self, index_N: Tensor) -> None:
        self.cache.batch_select_indices(index_N)


def plain_decoder(config: Any) -> bool:
    """Whether every layer is full attention over all positions, as in Llama, Qwen2 and Qwen3."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:
        return all(kind == "full_attention" for kind in kinds)
    if getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True):
        return False
    return text.model_type in {"llama", "qwen2", "qwen3", "mistral", "smollm3", "olmo2", "phi3"}

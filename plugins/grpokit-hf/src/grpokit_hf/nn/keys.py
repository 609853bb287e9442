"""Keys and values of attention layers while completions are sampled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

__all__ = ["FixedLayer", "SharedLayer", "plain_decoder"]


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
        """Row i becomes what row ``index_N[i]`` was."""
        self.spread(index_N, self.length - self.filled)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return self.length

    get_max_cache_shape = get_max_length


class SharedLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer: those of the prompts, and those that each row adds (no gradients).

    Until ``spread`` it takes those of a packed sequence and returns them; then the rows' own, one a call.
    Where that is little, a row's own have its prompt's before them (``start`` of them): attention then
    is one call.
    """

    is_sliding = False

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.filled, self.start, self.spreads = dtype, 0, 0, False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.packed = (key_states.to(self.dtype), value_states.to(self.dtype))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.spreads:
            self.lazy_initialization(key_states, value_states)
            return key_states, value_states
        return self.add(key_states[:, :, 0], value_states[:, :, 0])

    def add(self, key_NJD: Tensor, value_NJD: Tensor) -> tuple[Tensor, Tensor]:
        """One token more of each row; all that is kept by row."""
        end = self.start + self.filled
        self.keys[:, :, end] = key_NJD
        self.values[:, :, end] = value_NJD
        self.filled += 1
        return self.keys[:, :, : end + 1], self.values[:, :, : end + 1]

    def spread(self, places_PK: Tensor, room: int) -> None:
        """Prompts take their keys out of the sequence; room for ``room`` new tokens of each row."""
        self.prompt_keys, self.prompt_values = (
            x[0][:, places_PK].transpose(0, 1).contiguous() for x in self.packed
        )
        self.packed = (self.prompt_keys[:0], self.prompt_values[:0])
        self.keys, self.values = self.prompt_keys[:, :, :0], self.prompt_values[:, :, :0]
        self.room, self.spreads = room, True

    def keep(
        self, index_N: Tensor, prompts_P: Tensor | None, owners_N: Tensor, *, together: bool
    ) -> None:
        """Row i becomes what row ``index_N[i]`` was, of prompt ``owners_N[i]``.

        Where some prompts are no longer read, ``prompts_P`` are. ``together`` puts the prompt's keys
        before each row's own.
        """
        if prompts_P is not None:
            self.prompt_keys = self.prompt_keys[prompts_P]
            self.prompt_values = self.prompt_values[prompts_P]
        start = self.prompt_keys.shape[2] if together else 0
        end = start + self.filled
        for name in ("keys", "values"):
            prompts: Tensor = getattr(self, f"prompt_{name}")
            old: Tensor = getattr(self, name)
            _, heads, _, width = prompts.shape
            new = prompts.new_empty(len(index_N), heads, start + self.room, width)
            if together:
                new[:, :, :start] = prompts[owners_N]
            if self.filled:
                own = old[:, :, self.start : self.start + self.filled]
                new[:, :, start:end] = own.index_select(0, index_N)
            setattr(self, name, new)
        self.start = start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return (int(self.prompt_keys.shape[2]) if self.spreads else 0) + self.filled

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length


def plain_decoder(config: Any) -> bool:
    """Whether every layer is full attention over all positions, as in Llama, Qwen2 and Qwen3."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:
        return all(kind == "full_attention" for kind in kinds)
    if getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True):
        return False
    return text.model_type in {"llama", "qwen2", "qwen3", "mistral", "smollm3", "olmo2", "phi3"}

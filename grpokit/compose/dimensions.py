"""The sizes of a decoder that memory depends on, read from the names of its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LINEAR", "Dimensions", "lora_parameters", "parameters", "read_dimensions"]

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of one block, which ``targets: all-linear`` adapts."""


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """Sizes of a dense decoder with gated feed-forward blocks (Llama, Qwen, SmolLM, Mistral ...)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys (and of the values) of one layer."""
        return self.kv_heads * self.head_dim

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Linear layer of a block -> (inputs, outputs)."""
        return {
            "q_proj": (self.hidden, self.q_width),
            "k_proj": (self.hidden, self.kv_width),
            "v_proj": (self.hidden, self.kv_width),
            "o_proj": (self.q_width, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }


def read_dimensions(config: Mapping[str, Any]) -> Dimensions | None:
    """The sizes in a ``config.json``; None where a needed one is missing.

    A multimodal model keeps them under ``text_config``.
    """
    inner = config.get("text_config")
    source = inner if isinstance(inner, Mapping) else config

    def number(key: str, default: int = 0) -> int:
        value = source.get(key)
        usable = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return value if usable else default  # type: ignore[return-value]

    hidden, heads = number("hidden_size"), number("num_attention_heads")
    found = Dimensions(
        layers=number("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", hidden // heads if heads else 0),
        intermediate=number("intermediate_size", 4 * hidden),
        vocab=number("vocab_size"),
        tied=bool(source.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
    )
    return found if all((found.layers, found.hidden, found.heads, found.vocab)) else None


def parameters(dims: Dimensions) -> int:
    """Number of weights: embedding, head unless tied, linear layers and norms.

    Exact for Llama-like models; the small biases and query norms of other families are left out
    (below 0.1 %). A mixture of experts has more than this.
    """
    block = sum(a * b for a, b in dims.shapes().values()) + 2 * dims.hidden
    tables = dims.vocab * dims.hidden * (1 if dims.tied else 2)
    return tables + dims.layers * block + dims.hidden


def lora_parameters(dims: Dimensions, rank: int, targets: str | list[str]) -> int:
    """Weights of the adapters: rank * (inputs + outputs) for each adapted layer (2106.09685)."""
    shapes = dims.shapes()
    names = LINEAR if isinstance(targets, str) else [name for name in shapes if name in targets]
    return dims.layers * sum(rank * sum(shapes[name]) for name in names)

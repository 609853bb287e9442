"""One more token of every row of a sampling batch, through layers whose parts are known.

With a few rows a token costs less in products than in everything between them: a transformers layer with
adapters takes over a hundred calls of torch. The same arithmetic with products stacked
(:mod:`grpokit_hf.nn.stack`) and without what only longer inputs need takes about forty. Layers are
recognised by their class, and the first token of a run is computed in both ways: where they differ, or
where a layer is of another kind, transformers' own code goes on.

Suffixes: D rows, H hidden size, Q query heads, J key heads, W width of a head.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from grpokit_hf.nn.caches import SharedKeys
from grpokit_hf.nn.head import Head
from grpokit_hf.nn.keys import SharedLayer
from grpokit_hf.nn.native import LIMITS, Native, relative_gap
from grpokit_hf.nn.products import Linear
from grpokit_hf.nn.stack import Stack

__all__ = ["KNOWN", "TokenStep"]

log = logging.getLogger("grpokit.hf")

KNOWN = {"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"}
"""Layers that are: norm, attention with rotated halves, sum, norm, SwiGLU, sum."""


@dataclass(frozen=True)
class Layer:
    """The parts of a layer; norms as (weight, epsilon)."""

    before: Norm
    read: Stack
    query_norm: Norm | None
    key_norm: Norm | None
    scale: float
    write: Stack
    between: Norm
    widen: Stack
    narrow: Stack
    index: int


class TokenStep:
    """Hidden states of the next token; writes its keys into the cache."""

    def __init__(self, body: Any, linear: Linear) -> None:
        self.body = body
        self.width = int(body.layers[0].self_attn.head_dim)
        self.layers = [make_layer(layer, linear) for layer in body.layers]
        self.stacks = [
            stack
            for layer in self.layers
            for stack in (layer.read, layer.write, layer.widen, layer.narrow)
        ]
        self.norm = norm_of(body.norm)
        self.native: Native | None = None
        self.tried: bool | None = None

    @classmethod
    def ready(
        cls, base: Any, linear: Linear, before: TokenStep | None = None, *, native: bool = False
    ) -> TokenStep | None:
        """For a batch, with the adapters as they are now; ``before`` again if it is of these layers.

        With ``native``, tokens are computed in C where that can be. None where a layer is of another kind, has hooks, or many weights that train.
        """
        body = base.get_decoder()
        layers = getattr(body, "layers", ())
        if not layers or not all(map(is_known, layers)):
            return None
        parts = [part for layer in layers for part in stacks_of(layer)]
        if before is None or [stack.layers for stack in before.stacks] != parts:
            before = cls(body, linear)
            before.native = Native.of(before, Head(base)) if native else None
        for stack in before.stacks:
            stack.refresh()
        if before.native is not None:
            before.native.refresh()
        return before

    def __call__(self, ids_D1: Tensor, positions_D1: Tensor, cache: SharedKeys) -> Tensor:
        """(D, 1, H)"""
        x_DH = self.body.embed_tokens(ids_D1)[:, 0]
        cos_D1W, sin_D1W = self.body.rotary_emb(x_DH[:, None], positions_D1)
        half = self.width // 2
        sin_D1W = torch.cat([-sin_D1W[..., :half], sin_D1W[..., half:]], dim=-1)
        for layer in self.layers:
            mixed = self.attend(layer, norm(x_DH, layer.before), cos_D1W, sin_D1W, cache)
            x_DH = x_DH + layer.write(mixed)
            both = layer.widen(norm(x_DH, layer.between))
            middle = both.shape[1] // 2
            x_DH = x_DH + layer.narrow(functional.silu(both[:, :middle]).mul_(both[:, middle:]))
        return norm(x_DH, self.norm)[:, None]

    def attend(
        self, layer: Layer, x_DH: Tensor, cos_D1W: Tensor, sin_D1W: Tensor, cache: SharedKeys
    ) -> Tensor:
        """(D, Q * W)"""
        keys: SharedLayer = cache.layers[layer.index]
        all_DXW = layer.read(x_DH).view(len(x_DH), -1, self.width)
        shared = keys.keys.shape[1]
        rotated, value_DJW = all_DXW[:, :-shared], all_DXW[:, -shared:]
        if layer.query_norm is not None and layer.key_norm is not None:
            queries = norm(rotated[:, :-shared], layer.query_norm)
            rotated = torch.cat([queries, norm(rotated[:, -shared:], layer.key_norm)], dim=1)
        turned = torch.roll(rotated, self.width // 2, dims=-1).mul_(sin_D1W)
        rotated = (rotated * cos_D1W).add_(turned)
        key, value = keys.add(rotated[:, -shared:], value_DJW)
        query_DQW = rotated[:, :-shared]
        out: Tensor = cache.layout.attend_rows(keys, query_DQW, key, value, layer.scale)
        return out.reshape(len(out), -1)

    def agrees(self, fast: Tensor, slow: Tensor) -> bool:
        """Whether the first token is what transformers makes of it; told once where it is not."""
        gap = relative_gap(fast, slow)
        self.tried = gap <= LIMITS[slow.dtype]
        if not self.tried:
            log.warning(
                "tokens are sampled by transformers' own code: grpokit's differs by %.2g", gap
            )
        return self.tried


Norm = tuple[Tensor, float]


def norm(x: Tensor, parts: Norm) -> Tensor:
    """Root mean square norm, rounded as transformers rounds it."""
    weight, epsilon = parts
    wide = x.float()
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(epsilon))
    return weight * wide.to(x.dtype)


def norm_of(module: Any) -> Norm:
    return module.weight, float(module.variance_epsilon)


def stacks_of(layer: Any) -> tuple[list[Any], ...]:
    """Linear layers with the same input, in the order of the pass."""
    attention, mlp = layer.self_attn, layer.mlp
    return (
        [attention.q_proj, attention.k_proj, attention.v_proj],
        [attention.o_proj],
        [mlp.gate_proj, mlp.up_proj],
        [mlp.down_proj],
    )


def is_known(layer: Any) -> bool:
    """A layer of a known class with nothing hooked to it and products that can be stacked."""
    if type(layer).__name__ not in KNOWN or "silu" not in type(layer.mlp.act_fn).__name__.lower():
        return False
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())  # noqa: SLF001
    return not hooked and all(map(Stack.fits, stacks_of(layer)))


def make_layer(layer: Any, linear: Linear) -> Layer:
    attention = layer.self_attn
    read, write, widen, narrow = (Stack(each, linear) for each in stacks_of(layer))
    normed = hasattr(attention, "q_norm")
    return Layer(
        before=norm_of(layer.input_layernorm),
        read=read,
        query_norm=norm_of(attention.q_norm) if normed else None,
        key_norm=norm_of(attention.k_norm) if normed else None,
        scale=float(attention.scaling),
        write=write,
        between=norm_of(layer.post_attention_layernorm),
        widen=widen,
        narrow=narrow,
        index=int(attention.layer_idx),
    )

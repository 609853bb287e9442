"""The token step in C: the tables that ``native/token.c`` reads, and the call.

What is computed, and where it is rounded, is :class:`grpokit_hf.nn.token.TokenStep`'s; there one layer is
some forty calls of torch, here a token is one call. Rows lie side by side in the processor's vectors, so that
what a row gets does not depend on the others. Suffixes as in :mod:`grpokit_hf.nn.token`; V vocabulary.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from grpokit_hf.native import library
from grpokit_hf.nn.head import Head

if TYPE_CHECKING:
    from grpokit_hf.nn.caches import SharedKeys
    from grpokit_hf.nn.keys import SharedLayer
    from grpokit_hf.nn.stack import Stack
    from grpokit_hf.nn.token import Layer, Norm, TokenStep

__all__ = ["LIMITS", "ROWS", "Native", "relative_gap"]

log = logging.getLogger("grpokit.hf")

ROWS = 64
"""Most rows of a call: above, torch's products are as fast."""
LANES = 16
LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 2e-2}
"""Largest relative difference of two ways to compute a token: rounding, over all layers."""
HALVES = {torch.float32: 0, torch.bfloat16: 1}


class CStack(ctypes.Structure):
    """``Stack``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "up")),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "rank", "stride", "members")),
        *((name, ctypes.c_int64 * 3) for name in ("end", "first", "ranks")),
    )


class CLayer(ctypes.Structure):
    """``Layer``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("before", "query_norm", "key_norm", "between")),
        *(
            (name, ctypes.c_double)
            for name in (
                "before_epsilon",
                "query_epsilon",
                "key_epsilon",
                "between_epsilon",
                "scale",
            )
        ),
        *((name, CStack) for name in ("read", "write", "widen", "narrow")),
    )


class CCall(ctypes.Structure):
    """``Call``."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                *("half", "threads", "layers", "rows", "hidden", "heads", "shared", "width"),
                *("vocabulary", "prompts", "longest", "filled", "room"),
            )
        ),
        *(
            (name, ctypes.c_void_p)
            for name in ("layer", "keys", "lengths", "owners", "x", "cos", "sin", "norm")
        ),
        ("epsilon", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("head", "logits", "scratch")),
    )


class Native:
    """Tokens of a model whose layers a ``TokenStep`` knows."""

    def __init__(self, step: TokenStep, head: Head, code: Any) -> None:
        self.step, self.code = step, code
        self.head = head.head.weight if reads(head, step.norm[0].dtype) else None
        self.scratch = torch.empty(0, dtype=torch.uint8)
        self.layers = (CLayer * len(step.layers))()
        self.kept: list[Tensor] = []
        self.tried: bool | None = None

    @classmethod
    def of(cls, step: TokenStep, head: Head) -> Native | None:
        """None without a compiler, or where numbers are of a type or shape that the code has not."""
        if not all(fits(layer, step.width) for layer in step.layers):
            return None
        code = library()
        return None if code is None else cls(step, head, code)

    def refresh(self) -> None:
        """Takes the stacks as they are now."""
        self.kept = []
        for table, layer in zip(self.layers, self.step.layers, strict=True):
            for name in ("before", "query_norm", "key_norm", "between"):
                norm: Norm | None = getattr(layer, name)
                setattr(table, name, None if norm is None else norm[0].data_ptr())
                setattr(table, f"{name.removesuffix('_norm')}_epsilon", norm[1] if norm else 0.0)
            table.scale = layer.scale
            for name in ("read", "write", "widen", "narrow"):
                self.describe(getattr(layer, name), getattr(table, name))

    def describe(self, stack: Stack, table: CStack) -> None:
        ranks = stack.ranks
        up = torch.zeros(stack.width, max(*ranks, 1))
        ends = list(itertools.accumulate(base.out_features for base in stack.bases))
        firsts = list(itertools.accumulate(ranks, initial=0))
        for start, end, first, rank in zip([0, *ends], ends, firsts, ranks, strict=False):
            up[start:end, :rank] = stack.wide_RO[first : first + rank, start:end].T
        self.kept.append(up)
        table.weight, table.up = stack.weight.data_ptr(), up.data_ptr()
        table.bias = None if stack.bias is None else stack.bias.data_ptr()
        table.inputs, table.outputs = stack.weight.shape[1], stack.width
        table.rank, table.stride, table.members = stack.rank, up.shape[1], len(ranks)
        for place in range(len(ranks)):
            table.end[place], table.first[place] = ends[place], firsts[place]
            table.ranks[place] = ranks[place]

    def __call__(
        self, ids_D1: Tensor, positions_D1: Tensor, cache: SharedKeys, *, head: bool
    ) -> Tensor:
        """logits_DV, float32, or hidden_DH without the head; writes keys into the cache."""
        body = self.step.body
        x_DH = body.embed_tokens(ids_D1)[:, 0].contiguous()
        cos_D1W, sin_D1W = (x.contiguous() for x in body.rotary_emb(x_DH[:, None], positions_D1))
        matrix = self.head if head else None
        out = torch.empty(len(x_DH), x_DH.shape[1] if matrix is None else len(matrix))
        keys = pointers(cache)
        call = CCall(
            threads=torch.get_num_threads(),
            vocabulary=out.shape[1],
            keys=ctypes.addressof(keys),
            lengths=cache.counts_P.data_ptr(),
            owners=cache.owners_N.data_ptr(),
            x=x_DH.data_ptr(),
            cos=cos_D1W.data_ptr(),
            sin=sin_D1W.data_ptr(),
            head=None if matrix is None else matrix.data_ptr(),
            logits=out.data_ptr(),
            **self.shapes(x_DH, cache.layers[0]),
        )
        needed = self.code.grpokit_scratch(ctypes.byref(call))
        if len(self.scratch) < needed:
            self.scratch = torch.empty(needed, dtype=torch.uint8)
        call.scratch = self.scratch.data_ptr()
        self.code.grpokit_token(ctypes.byref(call))
        for layer in cache.layers:
            layer.filled += 1
        return out if matrix is not None else out.to(x_DH.dtype)

    def shapes(self, x_DH: Tensor, keys: SharedLayer) -> dict[str, Any]:
        """What the call is told of the model and of the batch."""
        step = self.step
        prompts, shared, longest, width = keys.prompt_keys.shape
        return {
            "half": HALVES[x_DH.dtype],
            "layers": len(self.layers),
            "layer": ctypes.addressof(self.layers),
            "norm": step.norm[0].data_ptr(),
            "epsilon": step.norm[1],
            "rows": len(x_DH),
            "hidden": x_DH.shape[1],
            "heads": step.layers[0].write.weight.shape[1] // width,
            "shared": shared,
            "width": width,
            "prompts": prompts,
            "longest": longest,
            "filled": keys.filled,
            "room": keys.keys.shape[2],
        }

    def agrees(self, fast: Tensor, slow: Tensor) -> bool:
        """Whether the first token is what torch makes of it; told once where it is not."""
        gap = relative_gap(fast, slow)
        self.tried = gap <= LIMITS[slow.dtype]
        if not self.tried:
            log.warning("tokens are sampled without grpokit's C code: it differs by %.2g", gap)
        return self.tried


def pointers(cache: SharedKeys) -> ctypes.Array[ctypes.c_void_p]:
    """``Keys`` of each layer."""
    found = [
        x.data_ptr()
        for layer in cache.layers
        for x in (layer.prompt_keys, layer.prompt_values, layer.keys, layer.values)
    ]
    return (ctypes.c_void_p * len(found))(*found)


def reads(head: Head, dtype: torch.dtype) -> bool:
    """Whether the code can compute this head too."""
    matrix: Any = head.head
    bare = type(matrix) is nn.Linear and getattr(matrix, "bias", None) is None
    plain = bare and matrix.weight.is_contiguous()
    return plain and head.softcap is None and head.scale == 1 and matrix.weight.dtype == dtype


def fits(layer: Layer, width: int) -> bool:
    """Whether the numbers of a layer are of a type and shape that the code has."""
    dtype = layer.read.weight.dtype
    norms = (layer.before, layer.query_norm, layer.key_norm, layer.between)
    types = {norm[0].dtype for norm in norms if norm is not None}
    stacks = (layer.read, layer.write, layer.widen, layer.narrow)
    return (
        dtype in HALVES
        and layer.read.weight.is_cpu
        and width % LANES == 0
        and types == {dtype}
        and all(stack.weight.shape[1] % 2 == 0 for stack in stacks)
    )


def relative_gap(fast: Tensor, slow: Tensor) -> float:
    return float((fast.float() - slow.float()).norm() / slow.float().norm())

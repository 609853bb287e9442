"""Log-probs of tokens by AMX tiles: what ``Head.values`` of grpokit's algorithms computes, in C.

Logits of 32 tokens and some hundred entries of the vocabulary exist at a time, in a processor's cache, in
float32 for every type of the head. Suffixes: N tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit_hf.native import library
from grpokit_hf.nn import amx
from grpokit_hf.nn.amx import SCRATCH, WATCHERS, TileLinear
from grpokit_hf.nn.products import Linear

__all__ = ["NativeHead", "head_of"]

ROWS, BLOCK = 1024, 2048
"""Tokens, and entries of the vocabulary, of the products that watchers are told of."""


class CHead(ctypes.Structure):
    """``Head``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("parts", "threads", "rows", "inner", "vocabulary")),
        *((name, ctypes.c_int64) for name in ("x_row", "w_row", "slope_row")),
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("x", "w", "target", "logprob", "norm", "entropy")),
        *((name, ctypes.c_void_p) for name in ("slope", "scratch")),
    )


def head_of(linear: Linear) -> NativeHead | None:
    """The head in C for a policy that ``linear`` multiplies for, if that is with tiles."""
    return NativeHead(linear) if isinstance(linear, TileLinear) else None


@dataclass(frozen=True)
class NativeHead:
    """A ``HeadValues``: takes float32 and bfloat16, without bias and softcap.

    A token's numbers do not depend on the other tokens; on the number of threads by rounding.

    Attributes:
        linear: says how many bfloat16 stand for a float32.
    """

    linear: TileLinear

    def __call__(
        self,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        targets_N: Tensor,
        *,
        bias_V: Tensor | None,
        scale: float,
        softcap: float | None,
        logprobs_N: Tensor,
        norm_N: Tensor,
        entropy_N: Tensor | None,
        slope_NH: Tensor | None,
    ) -> bool:
        outputs = (logprobs_N, norm_N, *(x for x in (entropy_N, slope_NH) if x is not None))
        code: Any = library()
        if code is None or bias_V is not None or softcap is not None:
            return False
        if not takes(hidden_NH, weight_VH, targets_N) or not all(map(is_plain, outputs)):
            return False
        if WATCHERS:
            self.tell(hidden_NH, weight_VH, slope=slope_NH is not None)
        targets_N = targets_N.contiguous()
        tensors = (hidden_NH, weight_VH, targets_N, logprobs_N, norm_N, entropy_N, slope_NH)
        call = CHead(
            self.linear.parts if hidden_NH.dtype == torch.float32 else 1,
            torch.get_num_threads(),
            *hidden_NH.shape,
            len(weight_VH),
            hidden_NH.stride(0),
            weight_VH.stride(0),
            0 if slope_NH is None else slope_NH.stride(0),
            scale,
            *(None if x is None else x.data_ptr() for x in tensors),
        )
        call.scratch = SCRATCH.at(code.grpokit_head_scratch(ctypes.byref(call)))
        code.grpokit_head(ctypes.byref(call))
        return True

    def tell(self, hidden_NH: Tensor, weight_VH: Tensor, *, slope: bool) -> None:
        """Tells watchers of the same products, in blocks: operands of the whole would be large."""
        rows, columns = min(ROWS, len(hidden_NH)), min(BLOCK, len(weight_VH))
        zeros_NV = hidden_NH.new_zeros(rows if slope else 0, columns)
        for some_NH in torch.split(hidden_NH, ROWS):
            for block_VH in torch.split(weight_VH, BLOCK):
                amx.tell(TileLinear.__call__, self.linear, some_NH, block_VH, None)
                if slope:
                    weights_NV = zeros_NV[: len(some_NH), : len(block_VH)]
                    amx.tell(TileLinear.__call__, self.linear, weights_NV, block_VH.T, None)


def takes(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> bool:
    """Whether these are tensors that the C code reads, with targets that are there."""
    return (
        hidden_NH.dtype in (torch.float32, torch.bfloat16)
        and weight_VH.dtype == hidden_NH.dtype
        and all(x.device.type == "cpu" for x in (hidden_NH, weight_VH, targets_N))
        and min(len(hidden_NH), len(weight_VH)) >= amx.SMALL
        and hidden_NH.shape[1] > 0
        and is_plain(hidden_NH)
        and is_plain(weight_VH)
        and targets_N.dtype == torch.int64
        and bool(((targets_N >= 0) & (targets_N < len(weight_VH))).all())
    )


def is_plain(x: Tensor) -> bool:
    """Whether the numbers of a row lie side by side."""
    return x.stride(-1) == 1

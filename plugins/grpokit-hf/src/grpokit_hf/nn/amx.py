"""Matrix products by AMX tiles, which processors from Intel have since Sapphire Rapids.

Tiles multiply bfloat16. A float32 number is the sum of three of them, so a float32 product is the sum of six
products of tiles (what the other three would add is below float32's own rounding), and takes less time than
the processor needs with vectors of float32. With two numbers in place of three it is three products, and
right to about 17 of 24 bits. What an adapter adds is part of the same sums.

Suffixes: M rows, K terms of a sum, N columns, R the rank of an adapter.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit_hf.native import library
from grpokit_hf.nn.products import Linear, More, torch_linear

__all__ = ["SMALL", "TileLinear", "amx_works", "watched"]

SMALL = 48
"""Rows or columns below which a product is left to torch."""
ROWS = 4096
"""Rows of a call: what is rearranged for them has to be held."""
STRIDES = [f"{matrix}_{way}" for matrix in "abcd" for way in ("row", "column")]
WATCHERS: list[Callable[[Linear, tuple[Any, ...]], object]] = []


class CProduct(ctypes.Structure):
    """``Product``."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("parts", "threads", "rows", "inner", "outputs", "more", "out_row")
        ),
        *((name, ctypes.c_int64) for name in STRIDES),
        *((name, ctypes.c_void_p) for name in ("a", "b", "c", "d", "bias", "out", "scratch")),
    )


class Scratch(threading.local):
    """Memory of a thread, kept from product to product: touching fresh memory costs as much as they do."""

    def __init__(self) -> None:
        self.bytes = torch.empty(0, dtype=torch.uint8)

    def at(self, size: int) -> int:
        """Where ``size`` bytes are."""
        if len(self.bytes) < size:
            self.bytes = torch.empty(size, dtype=torch.uint8)
        return self.bytes.data_ptr()


SCRATCH = Scratch()


@dataclass(frozen=True)
class TileLinear:
    """Products of bfloat16 and of float32; what tiles have no use for is left to another.

    Attributes:
        parts: bfloat16 numbers that stand for a float32: 3, or 2 for less work and fewer bits.
        otherwise: multiplies other types, and what is small.
    """

    parts: int = 3
    otherwise: Linear = torch_linear

    def __call__(
        self,
        x_MK: Tensor,
        weight_NK: Tensor,
        bias_N: Tensor | None = None,
        more: More | None = None,
    ) -> Tensor:
        if not takes(x_MK, weight_NK, bias_N, *(more or ())):
            return self.otherwise(x_MK, weight_NK, bias_N, more)
        for tell in WATCHERS:
            tell(self, (x_MK, weight_NK, bias_N, more))
        out_MN = x_MK.new_empty(len(x_MK), len(weight_NK))
        for start in range(0, len(x_MK), ROWS):
            rows = slice(start, start + ROWS)
            some = None if more is None else (more[0][rows], more[1])
            self.multiply(x_MK[rows], weight_NK, bias_N, some, out_MN[rows])
        return out_MN

    def multiply(
        self,
        x_MK: Tensor,
        weight_NK: Tensor,
        bias_N: Tensor | None,
        more: More | None,
        out_MN: Tensor,
    ) -> None:
        code: Any = library()
        low_MR, up_NR = more or (None, None)
        matrices = (x_MK, weight_NK, low_MR, up_NR)
        strides = [way for x in matrices for way in strides_of(x)]
        call = CProduct(
            self.parts if x_MK.dtype == torch.float32 else 1,
            torch.get_num_threads(),
            *(*x_MK.shape, len(weight_NK), 0 if low_MR is None else low_MR.shape[1]),
            out_MN.stride(0),
            *strides,
            *(None if x is None else x.data_ptr() for x in (*matrices, bias_N, out_MN)),
        )
        call.scratch = SCRATCH.at(code.grpokit_product_scratch(ctypes.byref(call)))
        code.grpokit_product(ctypes.byref(call))


def takes(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None, *more: Tensor) -> bool:
    """Whether a product is of a type, and large enough, for tiles."""
    dtype = x_MK.dtype
    return (
        dtype in (torch.float32, torch.bfloat16)
        and min(len(x_MK), len(weight_NK)) >= SMALL
        and x_MK.shape[1] > 0
        and all(x.dtype == dtype and 1 in x.stride() for x in (x_MK, weight_NK, *more))
        and (bias_N is None or (bias_N.dtype == dtype and bias_N.is_contiguous()))
    )


def strides_of(x: Tensor | None) -> tuple[int, int]:
    """Of rows and of columns; one of them is 1."""
    return (0, 0) if x is None else (x.stride(0), x.stride(1))


@contextmanager
def watched(tell: Callable[[Linear, tuple[Any, ...]], object]) -> Iterator[None]:
    """Tells of all products by tiles meanwhile: who multiplies, and what it is given."""
    WATCHERS.append(tell)
    try:
        yield
    finally:
        WATCHERS.remove(tell)


@functools.cache
def amx_works() -> bool:
    """Whether there is C code for tiles here, and it is right, for whole and for transposed matrices."""
    code = library()
    if code is None or not code.grpokit_products():
        return False
    generator = torch.Generator().manual_seed(0)
    x_MK, weight_NK = (
        torch.randn(size, 80, generator=generator, dtype=torch.float64) for size in (67, 50)
    )
    right = x_MK @ weight_NK.T
    for dtype, close in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        a, b = x_MK.to(dtype), weight_NK.to(dtype)
        for x, weight in ((a, b), (a.T.contiguous().T, b.T.contiguous().T)):
            found = TileLinear()(x, weight)
            if not (found - right).norm() <= close * right.norm():
                return False
    return True

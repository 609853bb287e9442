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
from grpokit_hf.nn.products import Linear, torch_linear

__all__ = ["SMALL", "TileLinear", "amx_works", "watched"]

SMALL = 48
"""Rows or columns below which a product is left to torch."""
ROWS = 2048
"""Rows of a call: what is rearranged for them has to be held."""
Watcher = Callable[[Callable[..., Any], tuple[Any, ...]], object]
WATCHERS: list[Watcher] = []


class CProduct(ctypes.Structure):
    """``Product``."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("parts", "threads", "rows", "inner", "outputs", "more", "wide")
        ),
        *((f"{name}_{way}", ctypes.c_int64) for name in "abde" for way in ("row", "column")),
        *((name, ctypes.c_void_p) for name in ("a", "b", "d", "e", "bias", "c", "out", "scratch")),
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

    def __call__(self, x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
        """X W' + b, (M, N) in the type of x."""
        if not takes(x_MK, weight_NK, bias_N):
            return self.otherwise(x_MK, weight_NK, bias_N)
        tell(TileLinear.__call__, self, x_MK, weight_NK, bias_N)
        out_MN = x_MK.new_empty(len(x_MK), len(weight_NK))
        for rows in parts_of(len(x_MK)):
            self.multiply(x_MK[rows], weight_NK, out_MN[rows], bias_N)
        return out_MN

    def adapted(
        self,
        x_MK: Tensor,
        weight_NK: Tensor,
        bias_N: Tensor | None,
        down_RK: Tensor,
        up_NR: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """X W' + b + low up', and low_MR = x down'; all in the type of x."""
        if not takes(x_MK, weight_NK, bias_N, down_RK, up_NR):
            low_MR = self.otherwise(x_MK, down_RK, None)
            return self(x_MK, weight_NK, bias_N).addmm_(low_MR, up_NR.T), low_MR
        tell(TileLinear.adapted, self, x_MK, weight_NK, bias_N, down_RK, up_NR)
        out_MN = x_MK.new_empty(len(x_MK), len(weight_NK))
        low_MR = x_MK.new_empty(len(x_MK), len(down_RK))
        for rows in parts_of(len(x_MK)):
            adapter = (low_MR[rows], down_RK, up_NR)
            self.multiply(x_MK[rows], weight_NK, out_MN[rows], bias_N, adapter)
        return out_MN, low_MR

    def crossed(self, a_MR: Tensor, b_MN: Tensor) -> Tensor:
        """A' b, (R, N), what the tokens of a batch add up to: float32 of bfloat16.

        Each number of b is read once; putting float32 into tiles for that takes longer than torch does.
        """
        half, size = a_MR.dtype == torch.bfloat16, min(len(a_MR), b_MN.shape[1])
        if not half or size < SMALL or len(a_MR) > ROWS or not fits(a_MR, b_MN):
            return a_MR.T @ b_MN
        tell(TileLinear.crossed, self, a_MR, b_MN)
        out_RN = torch.empty(a_MR.shape[1], b_MN.shape[1])
        self.multiply(a_MR.T, b_MN.T, out_RN)
        return out_RN

    def multiply(
        self,
        x_MK: Tensor,
        weight_NK: Tensor,
        out_MN: Tensor,
        bias_N: Tensor | None = None,
        adapter: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """Fills ``out_MN`` and, of an adapter (low_MR, down_RK, up_NR), ``low_MR``; contiguous both."""
        code: Any = library()
        low_MR, down_RK, up_NR = adapter or (None, None, None)
        matrices = (x_MK, weight_NK, up_NR, down_RK)
        call = CProduct(
            self.parts if x_MK.dtype == torch.float32 else 1,
            torch.get_num_threads(),
            *(*x_MK.shape, len(weight_NK), 0 if low_MR is None else low_MR.shape[1]),
            out_MN.dtype != x_MK.dtype,
            *(way for x in matrices for way in strides_of(x)),
            *(None if x is None else x.data_ptr() for x in (*matrices, bias_N, low_MR, out_MN)),
        )
        call.scratch = SCRATCH.at(code.grpokit_product_scratch(ctypes.byref(call)))
        code.grpokit_product(ctypes.byref(call))


def takes(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None, *more: Tensor) -> bool:
    """Whether a product is of a type, and large enough, for tiles."""
    return (
        min(len(x_MK), len(weight_NK)) >= SMALL
        and x_MK.shape[1] > 0
        and fits(x_MK, weight_NK, *more)
        and (bias_N is None or (bias_N.dtype == x_MK.dtype and bias_N.is_contiguous()))
    )


def fits(*matrices: Tensor) -> bool:
    """Whether all are of one type that tiles have, with numbers that lie next to each other one way."""
    dtype = matrices[0].dtype
    known = dtype in (torch.float32, torch.bfloat16)
    return known and all(x.dtype == dtype and 1 in x.stride() and x.numel() for x in matrices)


def strides_of(x: Tensor | None) -> tuple[int, int]:
    """Of rows and of columns; one of them is 1."""
    return (0, 0) if x is None else (x.stride(0), x.stride(1))


def parts_of(rows: int) -> Iterator[slice]:
    """Rows that are multiplied at once."""
    for start in range(0, rows, ROWS):
        yield slice(start, start + ROWS)


def tell(func: Callable[..., Any], *args: Any) -> None:
    """Those who watch, of a product."""
    for watcher in WATCHERS:
        watcher(func, args)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tells of all products by tiles meanwhile: the function, and what it is given."""
    WATCHERS.append(watcher)
    try:
        yield
    finally:
        WATCHERS.remove(watcher)


def amx_works() -> bool:
    """Whether there is C code for tiles here, and it is right, for whole and for transposed matrices."""
    code = library()
    return code is not None and bool(code.grpokit_products()) and right()


@functools.cache
def right() -> bool:
    generator = torch.Generator().manual_seed(0)
    x_MK, weight_NK = (
        torch.randn(size, 80, generator=generator, dtype=torch.float64) for size in (67, 50)
    )
    exact = x_MK @ weight_NK.T
    for dtype, close in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        a, b = x_MK.to(dtype), weight_NK.to(dtype)
        for x, weight in ((a, b), (a.T.contiguous().T, b.T.contiguous().T)):
            found = TileLinear()(x, weight)
            if not (found - exact).norm() <= close * exact.norm():
                return False
    return True

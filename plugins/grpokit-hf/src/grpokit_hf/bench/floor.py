"""What the matrix products of an update take alone, each with its whole result written to memory.

Every product of one update is written down, with its numbers. Each distinct one (operation, shapes,
strides, types) is then computed a few times by itself, by who multiplied it, and the times are added up
as often as it occurred. Attention's products count where they are operations of their own or of grpokit's
C code, and not inside torch's kernels. Equal ones of C code are computed together: by torch, in the type they
were multiplied in, and those of float32 in tiles by the tiles that multiply the layers, as one of many rows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from grpokit_hf.nn import amx, packed_native

__all__ = ["PRODUCTS", "Products", "floor_of"]

PRODUCTS = frozenset(
    {
        "aten::mm",
        "aten::addmm",
        "aten::addmm_",
        "aten::bmm",
        "aten::baddbmm",
        "aten::baddbmm_",
        "aten::linear",
        "aten::matmul",
        "aten::_addmm_activation",
        "mkldnn::_linear_pointwise",
        "mkldnn::_linear_pointwise_",
        "mkl::_mkl_linear",
    }
)
REPEATS = 3
BATCH = 64
"""Equal products of C code that are computed at once."""


@dataclass(frozen=True)
class Call:
    """A product, and how often it occurred."""

    count: int
    func: Callable[..., Any]
    args: tuple[Any, ...]
    named: dict[str, Any]


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
    """Writes down the products that are computed while it is entered.

    Attributes:
        calls: by signature.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: dict[Any, Call] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = dict(kwargs or {})
        name = func._schema.name  # noqa: SLF001  (there is no public way to an operation's name)
        if name in PRODUCTS:
            self.note(func, args, named, name)
        return func(*args, **named)

    def note(
        self, func: Callable[..., Any], args: Any, named: dict[str, Any], name: str = ""
    ) -> None:
        """Writes one down."""
        mark = (name or func, *(signature(leaf) for leaf in tree_leaves((args, named))))
        count = self.calls[mark].count if mark in self.calls else 0
        self.calls[mark] = Call(count + 1, func, args, named)


def signature(leaf: Any) -> Any:
    """What the time of a product depends on."""
    if not isinstance(leaf, Tensor):
        return str(leaf)
    strides = leaf.stride() if leaf.layout == torch.strided else str(leaf.layout)
    return tuple(leaf.shape), strides, leaf.dtype


def floor_of(run: Callable[[], object]) -> float:
    """Seconds that the products of ``run`` take alone."""
    products, shapes = Products(), Counter[packed_native.Told]()
    by_tiles = amx.watched(lambda func, args: products.note(func, args, {}))
    with products, by_tiles, packed_native.watched(shapes.update):
        run()
    calls = list(products.calls.values())
    for each, count in shapes.items():
        calls += dense(*each, count)
    with torch.no_grad():
        return sum(call.count * alone(call) for call in calls)


def dense(
    shape: packed_native.Shape,
    dtype: torch.dtype,
    tiled: bool,
    count: int,
) -> list[Call]:
    """Products (M, K) by (K, N) that C code computed, many at once."""
    m, k, n = shape
    calls = []
    for times, size in ((count // BATCH, BATCH), (1, count % BATCH)):
        if times and size and tiled:
            one = (torch.ones(size * m, k, dtype=dtype), torch.ones(n, k, dtype=dtype))
            calls.append(Call(times, amx.TileLinear(), one, {}))
        elif times and size:
            operands = (
                torch.ones(size, m, k, dtype=dtype),
                torch.ones(size, k, n, dtype=dtype),
            )
            calls.append(Call(times, torch.bmm, operands, {}))
    return calls


def alone(call: Call) -> float:
    """Seconds of one product, with its operands at hand."""
    times = []
    for _ in range(REPEATS + 1):  # the first warms up
        wait()
        start = time.perf_counter()
        call.func(*call.args, **call.named)
        wait()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()

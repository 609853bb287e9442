"""Attention over a packed sequence in C: the tables that ``native/attention.c`` reads, and the calls.

It computes what :mod:`grpokit_hf.nn.packed_attention` computes, from queries, keys and values where they
stand: nothing is gathered into padded blocks, and a row's later keys are left out. Each thread sums
gradients of keys in a table of its own; the tables are added in their order. Inside it is float32; on a
processor with AMX, heads a multiple of 32 wide are multiplied in tiles and summed in float32: bfloat16 as
it is, and float32 as the sum of three bfloat16 numbers, where tiles multiply the layers too (``amx``).
Suffixes as there.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grpokit_hf.native import library
from grpokit_hf.nn.amx import amx_works
from grpokit_hf.nn.native import HALVES, LANES
from grpokit_hf.nn.pack import Block

__all__ = ["Plan", "native_attention", "takes", "watched"]

TILE = 32
"""Numbers of a head that tiles take at once, where bfloat16 is multiplied in them."""
TABLES = 1 << 28
"""Numbers in the threads' tables of gradients from which they are too many."""
Shape = tuple[int, int, int]
Told = tuple[Shape, torch.dtype, bool]
"""Shape and type of a product, and whether it is of float32 in tiles."""
WATCHERS: list[Callable[[Sequence[Told]], object]] = []


class CWork(ctypes.Structure):
    """``Work``."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                "half",
                "tiles",
                "threads",
                "heads",
                "shared",
                "width",
                "tokens",
                "longest",
            )
        ),
        *((name, ctypes.c_void_p) for name in ("places", "bounds", "item", "q", "k", "v", "out")),
        *((name, ctypes.c_void_p) for name in ("norm", "grad", "dq", "dk", "dv", "scratch")),
        ("scale", ctypes.c_double),
    )


@dataclass(frozen=True)
class Plan:
    """Who computes what, made once for all layers.

    Attributes:
        places: of the keys of all rows, one after another.
        items: fields of ``Item``, for each some queries of a row.
        bounds: the first item of each thread, and the end.
        longest: most keys of an item.
        tiles: float32 is multiplied in tiles, where there are some.
    """

    places: Tensor
    items: Tensor
    bounds: Tensor
    longest: int
    tiles: bool = False

    def products(self, group: int, width: int, *, back: bool) -> list[Shape]:
        """Shapes (M, K, N) of the products of a pass: two for each item, or five."""
        found = []
        for _, prefix, _, _, _, first, count in self.items.tolist():
            keys = prefix + (first + count - 1) // group + 1
            over_width, over_keys = (count, width, keys), (count, keys, width)
            found += [over_width, over_keys]
            found += [over_width, (keys, count, width), (keys, count, width)] if back else []
        return found

    @classmethod
    def of(
        cls,
        blocks: Sequence[Block],
        end: int,
        heads: int,
        shared: int,
        threads: int,
        *,
        tiles: bool = False,
    ) -> Plan:
        code = library()
        assert code is not None
        lanes, group = int(code.grpokit_attention_lanes()), heads // shared
        places: list[int] = []
        items: list[tuple[int, ...]] = []
        costs: list[int] = []
        longest = 0

        def add(found: list[int]) -> tuple[int, int]:
            kept = [place for place in found if place != end]
            places.extend(kept)
            return len(places) - len(kept), len(kept)

        for block in blocks:
            prefixes = None if block.prefix_PK is None else block.prefix_PK.tolist()
            for prompt, rows in enumerate(block.own_PRT.tolist()):
                prefix = (0, 0) if prefixes is None else add(prefixes[prompt])
                every = [add(row) for row in rows]
                longest = max(longest, *(prefix[1] + own[1] for own in every))
                # rows inside heads: what they continue is fetched once for all of them
                for head, own in itertools.product(range(shared), every):
                    for first in range(0, own[1] * group, lanes):
                        count = min(lanes, own[1] * group - first)
                        items.append((*prefix, *own, head, first, count))
                        keys = prefix[1] + (first + count) // group
                        costs.append(keys * (-count // LANES * -LANES))
        bounds = bounds_of(costs, threads)
        return cls(torch.tensor(places), torch.tensor(items), bounds, longest, tiles)


@contextmanager
def watched(tell: Callable[[Sequence[Told]], object]) -> Iterator[None]:
    """Tells of the shapes and types of all products that are computed meanwhile."""
    WATCHERS.append(tell)
    try:
        yield
    finally:
        WATCHERS.remove(tell)


def bounds_of(costs: Sequence[int], threads: int) -> Tensor:
    """Items in their order, cut so that each thread has about as much to do."""
    done = torch.tensor(costs).cumsum(0)
    wanted = done[-1] * torch.arange(1, threads) / threads
    cuts = torch.searchsorted(done.double(), wanted.double())
    return torch.cat([torch.zeros(1, dtype=torch.long), cuts, torch.tensor([len(costs)])])


def takes(query: Tensor, key: Tensor) -> bool:
    """Whether the code has this type and shape, (L, heads, D), and there is a compiler."""
    known = query.is_cpu and query.dtype in HALVES and query.dtype == key.dtype
    fits = query.shape[-1] % LANES == 0 and query.shape[1] % key.shape[1] == 0
    small = 2 * torch.get_num_threads() * key.numel() <= TABLES
    return known and fits and small and library() is not None


def native_attention(
    q_LHD: Tensor, k_LJD: Tensor, v_LJD: Tensor, plan: Plan, scale: float
) -> Tensor:
    """softmax(scale Q K' + mask) V of the sequence, (L, H, D) in the type of the queries."""
    out_LHD: Tensor = _Attention.apply(q_LHD, k_LJD, v_LJD, plan, scale)  # type: ignore[no-untyped-call]
    return out_LHD


def compute(plan: Plan, q_LHD: Tensor, k_LJD: Tensor, scale: float, **tensors: Tensor) -> None:
    code: Any = library()
    threads = len(plan.bounds) - 1
    if WATCHERS:
        told = multiplied(plan, q_LHD, k_LJD, back="dq" in tensors)
        for tell in WATCHERS:
            tell(told)
    work = CWork(
        half=HALVES[q_LHD.dtype],
        tiles=plan.tiles,
        threads=threads,
        heads=q_LHD.shape[1],
        shared=k_LJD.shape[1],
        width=q_LHD.shape[2],
        tokens=q_LHD.shape[0],
        longest=plan.longest,
        scale=scale,
        places=plan.places.data_ptr(),
        bounds=plan.bounds.data_ptr(),
        item=plan.items.data_ptr(),
        q=q_LHD.data_ptr(),
        k=k_LJD.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
    scratch = torch.empty(code.grpokit_attention_scratch(ctypes.byref(work)), dtype=torch.uint8)
    work.scratch = scratch.data_ptr()
    code.grpokit_attention(ctypes.byref(work))


def multiplied(plan: Plan, q_LHD: Tensor, k_LJD: Tensor, *, back: bool) -> list[Told]:
    """The products of a pass."""
    shapes = plan.products(q_LHD.shape[1] // k_LJD.shape[1], q_LHD.shape[2], back=back)
    fits = q_LHD.shape[2] % TILE == 0 and amx_works()
    half = q_LHD.dtype == torch.bfloat16 and fits
    dtype = torch.bfloat16 if half else torch.float32
    return [(shape, dtype, plan.tiles and fits and not half) for shape in shapes]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_LHD: Tensor, k_LJD: Tensor, v_LJD: Tensor, plan: Plan, scale: float
    ) -> Tensor:
        q_LHD, k_LJD, v_LJD = (x.contiguous() for x in (q_LHD, k_LJD, v_LJD))
        out_LHD = torch.empty_like(q_LHD)
        norm_LH = torch.empty(q_LHD.shape[:2], dtype=torch.float32)
        compute(plan, q_LHD, k_LJD, scale, v=v_LJD, out=out_LHD, norm=norm_LH)
        ctx.save_for_backward(q_LHD, k_LJD, v_LJD, out_LHD, norm_LH)
        ctx.plan, ctx.scale = plan, scale
        return out_LHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor | None, ...]:
        q_LHD, k_LJD, v_LJD, out_LHD, norm_LH = ctx.saved_tensors
        threads = len(ctx.plan.bounds) - 1
        dq_LHD, grad_LHD = torch.empty_like(q_LHD), grad_LHD.contiguous()
        dk = torch.zeros(threads, *k_LJD.shape)
        dv = torch.zeros(threads, *v_LJD.shape)
        given = {"v": v_LJD, "out": out_LHD, "norm": norm_LH, "grad": grad_LHD}
        compute(ctx.plan, q_LHD, k_LJD, ctx.scale, **given, dq=dq_LHD, dk=dk, dv=dv)
        return dq_LHD, dk.sum(0).to(k_LJD.dtype), dv.sum(0).to(v_LJD.dtype), None, None

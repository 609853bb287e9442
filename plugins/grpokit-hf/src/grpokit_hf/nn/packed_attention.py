"""Attention over a packed sequence, exact, with gradients, and without a matrix of all scores.

For the block of R rows of a prompt: scores against the prompt's keys are one product (all rows' queries
at once: the prompt's keys are never repeated), scores against a row's own keys another, and one softmax
goes over both. The backward computes the scores again from the saved log-sum (as FlashAttention does,
arXiv 2205.14135), so that a layer keeps its queries, keys, values and result, and nothing else.

Everything inside is float32, whatever the model's type (:mod:`grpokit_hf.nn.packed_native` multiplies
bfloat16 in AMX tiles). Suffixes as in :mod:`grpokit_hf.nn.pack`; H
query heads, J key heads, S = H / J query heads a key head, D width, B = P * J.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from grpokit_hf.nn.amx import TileLinear
from grpokit_hf.nn.pack import Block, Pack
from grpokit_hf.nn.packed_native import Plan, native_attention, takes
from grpokit_hf.nn.products import Linear, onednn_linear, torch_linear
from grpokit_hf.nn.tiles import Tiles

__all__ = ["Layout", "packed_attention"]

LOOP = 1 << 16
"""Scores of a key head from which its products go one by one to the faster multiplier."""
SCORES = 1 << 22
"""Scores that are held at once."""
LONG = 1024
"""Length of a row from which its queries are cut: later keys are then left out of the products."""


@dataclass(frozen=True)
class Places:
    """A block with the places of its heads in flat tables of (L + 1) * heads rows."""

    queries_X: Tensor
    own_X: Tensor
    prefix_X: Tensor | None
    hidden_BK: Tensor | None
    rows: int
    length: int

    @cached_property
    def turned_X(self) -> Tensor:  # noqa: N802  (places are named by their shape)
        """``queries_X`` with the query heads of a key head outside the rows."""
        group = len(self.queries_X) // len(self.own_X)
        places_BRST = self.queries_X.view(-1, self.rows, group, self.length)
        return places_BRST.transpose(1, 2).reshape(-1)


class Layout:
    """A pack as attention needs it: the places of each head, made once for all layers.

    Blocks are computed in C where ``native`` allows and it has their type; else in ``tiles``, or by
    ``linear``.
    """

    def __init__(
        self,
        pack: Pack,
        linear: Linear = torch_linear,
        *,
        tiles: bool = False,
        native: bool = False,
    ) -> None:
        self.pack = pack
        self.linear = linear
        self.tiles = tiles
        self.native = native
        self.made: dict[tuple[int, int], tuple[Places, ...]] = {}
        self.plans: dict[tuple[int, int, int], Plan] = {}
        self.used = 0

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
    ) -> Tensor:
        """The kernel that a transformers model calls: (1, heads, L, D) in, (1, L, heads, D) out."""
        self.used += 1
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        q_LHD, k_LJD, v_LJD = (x[0].transpose(0, 1) for x in (query, key, value))
        return packed_attention(q_LHD, k_LJD, v_LJD, self, scale)[None]

    def plan(self, heads: int, shared: int) -> Plan:
        """The same for the C code."""
        key = (heads, shared, torch.get_num_threads())
        if key not in self.plans:
            tiles = isinstance(self.linear, TileLinear)
            self.plans[key] = Plan.of(self.pack.blocks, len(self.pack.ids_L), *key, tiles=tiles)
        return self.plans[key]

    def places(self, heads: int, shared: int) -> tuple[Places, ...]:
        """For ``heads`` query heads and ``shared`` key heads."""
        key = (heads, shared)
        if key not in self.made:
            end = len(self.pack.ids_L)
            self.made[key] = tuple(
                make_places(block, end, heads, shared) for block in self.pack.blocks
            )
        return self.made[key]


def make_places(block: Block, end: int, heads: int, shared: int) -> Places:
    own_PRT, prefix_PK = block.own_PRT, block.prefix_PK
    _, rows, length = own_PRT.shape
    device = own_PRT.device
    group = heads // shared
    head_JS = torch.arange(heads, device=device).view(shared, group)
    queries = own_PRT[:, None, :, None, :] * heads + head_JS[None, :, None, :, None]
    head_J = torch.arange(shared, device=device)
    own = own_PRT[:, None] * shared + head_J[None, :, None, None]
    prefix = hidden_BK = None
    if prefix_PK is not None:
        prefix = (prefix_PK[:, None] * shared + head_J[None, :, None]).reshape(-1)
        hidden_PK = prefix_PK == end
        if bool(hidden_PK.any()):
            hidden_BK = hidden_PK.repeat_interleave(shared, dim=0)
    return Places(
        queries_X=queries.reshape(-1),
        own_X=own.reshape(-1),
        prefix_X=prefix,
        hidden_BK=hidden_BK,
        rows=rows,
        length=length,
    )


def packed_attention(
    q_LHD: Tensor, k_LJD: Tensor, v_LJD: Tensor, layout: Layout, scale: float
) -> Tensor:
    """softmax(scale Q K' + mask) V of the sequence, (L, H, D) in the type of the queries.

    Autocast does not reach inside: it would round the scores to bfloat16 in the forward alone, and the
    backward, which computes them again without it, would use weights that do not sum to 1.
    """
    with torch.autocast(q_LHD.device.type, enabled=False):
        if layout.native and takes(q_LHD, k_LJD):
            plan = layout.plan(q_LHD.shape[1], k_LJD.shape[1])
            return native_attention(q_LHD, k_LJD, v_LJD, plan, scale)
        out_LHD: Tensor = _PackedAttention.apply(q_LHD, k_LJD, v_LJD, layout, scale)  # type: ignore[no-untyped-call]
    return out_LHD


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q_LHD: Tensor, k_LJD: Tensor, v_LJD: Tensor, layout: Layout, scale: float
    ) -> Tensor:
        heads, shared = q_LHD.shape[1], k_LJD.shape[1]
        q_XD, k_XD, v_XD = flat(q_LHD, scale), flat(k_LJD), flat(v_LJD)
        out_XD = torch.empty_like(q_XD)
        norms = []
        for places in layout.places(heads, shared):
            if layout.tiles:
                out, norm = Tiles(places, q_XD, k_XD, v_XD).forward()
                out_XD.index_copy_(0, places.turned_X, out)
            else:
                out, norm = Heads(places, q_XD, k_XD, v_XD, layout.linear).forward()
                out_XD.index_copy_(0, places.queries_X, out)
            norms.append(norm)
        out_LHD = out_XD[:-heads].view(q_LHD.shape).to(q_LHD.dtype)
        ctx.save_for_backward(q_LHD, k_LJD, v_LJD, out_LHD, *norms)
        ctx.layout, ctx.scale = layout, scale
        return out_LHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor | None, ...]:
        q_LHD, k_LJD, v_LJD, out_LHD, *norms = ctx.saved_tensors
        heads, shared = q_LHD.shape[1], k_LJD.shape[1]
        q_XD, k_XD, v_XD = flat(q_LHD, ctx.scale), flat(k_LJD), flat(v_LJD)
        grad_XD = flat(grad_LHD)
        told_X = flat(out_LHD) if ctx.layout.tiles else deltas(grad_LHD, out_LHD)
        sums = Sums(torch.empty_like(q_XD), torch.zeros_like(k_XD), torch.zeros_like(v_XD))
        for places, norm in zip(ctx.layout.places(heads, shared), norms, strict=True):
            if ctx.layout.tiles:
                Tiles(places, q_XD, k_XD, v_XD).backward(grad_XD, told_X, norm, sums)
            else:
                block = Heads(places, q_XD, k_XD, v_XD, ctx.layout.linear)
                block.backward(grad_XD, told_X, norm, sums)
        dq_LHD = sums.q_XD[:-heads].view(q_LHD.shape).mul_(ctx.scale).to(q_LHD.dtype)
        dk_LJD = sums.k_XD[:-shared].view(k_LJD.shape).to(k_LJD.dtype)
        dv_LJD = sums.v_XD[:-shared].view(v_LJD.shape).to(v_LJD.dtype)
        return dq_LHD, dk_LJD, dv_LJD, None, None


@dataclass(frozen=True)
class Sums:
    """Gradients of the flat tables. A query stands in one block, a prompt's key in several."""

    q_XD: Tensor
    k_XD: Tensor
    v_XD: Tensor

    def add(
        self,
        places: Places,
        queries_X: Tensor,
        dq: Tensor,
        own: tuple[Tensor, Tensor],
        prefix: tuple[Tensor, Tensor] | None,
    ) -> None:
        width = dq.shape[-1]
        self.q_XD.index_copy_(0, queries_X, dq.reshape(-1, width))
        for table_XD, part in zip((self.k_XD, self.v_XD), own, strict=True):
            table_XD.index_add_(0, places.own_X, part.view(-1, width))
        if prefix is not None and places.prefix_X is not None:
            for table_XD, part in zip((self.k_XD, self.v_XD), prefix, strict=True):
                table_XD.index_add_(0, places.prefix_X, part.view(-1, width))


def deltas(grad_LHD: Tensor, out_LHD: Tensor) -> Tensor:
    """What a query's gradient and result have in common, in a flat table."""
    delta_X = (grad_LHD.float() * out_LHD.float()).sum(-1).reshape(-1)
    return torch.cat([delta_X, delta_X.new_zeros(grad_LHD.shape[1])])


def flat(x_LHD: Tensor, scale: float = 1.0) -> Tensor:
    """(L + 1) * H rows in float32; the last H are zeros, for padding to point at."""
    length, heads, width = x_LHD.shape
    out_XD = torch.empty((length + 1) * heads, width, dtype=torch.float32, device=x_LHD.device)
    torch.mul(x_LHD, scale, out=out_XD[:-heads].view(x_LHD.shape))
    out_XD[-heads:] = 0
    return out_XD


class Heads:
    """The queries, keys and values of a block, by key head, and the arithmetic on them."""

    def __init__(
        self, places: Places, q_XD: Tensor, k_XD: Tensor, v_XD: Tensor, linear: Linear
    ) -> None:
        self.places, self.linear = places, linear
        rows, length, width = places.rows, places.length, q_XD.shape[1]
        group = q_XD.shape[0] // k_XD.shape[0]
        self.q_BRSTD = q_XD[places.queries_X].view(-1, rows, group, length, width)
        self.k_BRTD = k_XD[places.own_X].view(-1, rows, length, width)
        self.v_BRTD = v_XD[places.own_X].view(-1, rows, length, width)
        self.batch = self.q_BRSTD.shape[0]
        self.prefix_BKD: tuple[Tensor, Tensor] | None = None
        if places.prefix_X is not None:
            self.prefix_BKD = (
                k_XD[places.prefix_X].view(self.batch, -1, width),
                v_XD[places.prefix_X].view(self.batch, -1, width),
            )

    def parts(self) -> Iterator[tuple[slice, slice]]:
        """Key heads and queries that are computed at once."""
        _, rows, group, length, _ = self.q_BRSTD.shape
        keys = length + (0 if self.prefix_BKD is None else self.prefix_BKD[0].shape[1])
        queries = length if length <= LONG else LONG // 2
        scores = rows * group * queries * keys
        one_by_one = scores >= LOOP and self.linear is onednn_linear
        heads = 1 if one_by_one else max(1, SCORES // scores)
        for start in range(0, self.batch, heads):
            for first in range(0, length, queries):
                yield (
                    slice(start, min(start + heads, self.batch)),
                    slice(first, min(first + queries, length)),
                )

    def times(self, a_BMK: Tensor, b_BKN: Tensor) -> Tensor:
        """The product, by the faster multiplier where it is a single large one."""
        if len(a_BMK) == 1 and self.linear is onednn_linear:
            return self.linear(a_BMK[0], b_BKN[0].T, None)[None]
        return torch.bmm(a_BMK, b_BKN)

    def scores(self, b: slice, t: slice) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries (b, R, S, t, D) with their scores against own keys and, (b, R*S*t, K), the prompt's."""
        q = self.q_BRSTD[b, :, :, t]
        count, rows, group, length, width = q.shape
        q = q.contiguous()
        k = self.k_BRTD[b, :, : t.stop].reshape(count * rows, t.stop, width)
        own = torch.bmm(q.view(count * rows, group * length, width), k.transpose(1, 2))
        own = own.view(count, rows, group, length, t.stop)
        if t.stop > 1:
            later = torch.ones(length, t.stop, dtype=torch.bool, device=q.device)
            own.masked_fill_(later.triu_(t.start + 1), -torch.inf)
        if self.prefix_BKD is None:
            return q, own, None
        prefix = self.times(q.view(count, -1, width), self.prefix_BKD[0][b].transpose(1, 2))
        if self.places.hidden_BK is not None:
            prefix.masked_fill_(self.places.hidden_BK[b, None], -torch.inf)
        return q, own, prefix

    def forward(self) -> tuple[Tensor, Tensor]:
        """The result in the order of ``queries_X``, and the log of each query's sum, (B, R, S, T)."""
        out_BRSTD = torch.empty_like(self.q_BRSTD)
        norm_BRST = self.q_BRSTD.new_empty(self.q_BRSTD.shape[:-1])
        for b, t in self.parts():
            q, own, prefix = self.scores(b, t)
            high = own.amax(-1)
            if prefix is not None:
                high = torch.maximum(high, prefix.amax(-1).view(high.shape))
            own = own.sub_(high[..., None]).exp_()
            total = own.sum(-1)
            out = self.own_values(own, b, t)
            if prefix is not None and self.prefix_BKD is not None:
                flat_high = high.view(*prefix.shape[:2], 1)
                prefix = prefix.sub_(flat_high).exp_()
                total += prefix.sum(-1).view(total.shape)
                out += self.times(prefix, self.prefix_BKD[1][b]).view(q.shape)
            out_BRSTD[b, :, :, t] = out.div_(total[..., None])
            norm_BRST[b, :, :, t] = high.add_(total.log_())
        return out_BRSTD.view(-1, out_BRSTD.shape[-1]), norm_BRST

    def own_values(self, weights: Tensor, b: slice, t: slice) -> Tensor:
        """(b, R, S, t, t.stop) weights times the rows' own values."""
        count, rows, group, length, keys = weights.shape
        v = self.v_BRTD[b, :, : t.stop].reshape(count * rows, keys, -1)
        out = torch.bmm(weights.view(count * rows, group * length, keys), v)
        return out.view(count, rows, group, length, -1)

    def backward(self, grad_XD: Tensor, delta_X: Tensor, norm_BRST: Tensor, sums: Sums) -> None:
        """Adds the block's part of the gradients to ``sums``."""
        shape = self.q_BRSTD.shape
        grad_BRSTD = grad_XD[self.places.queries_X].view(shape)
        delta_BRST = delta_X[self.places.queries_X].view(shape[:-1])
        dq = torch.empty_like(self.q_BRSTD)
        dk, dv = torch.zeros_like(self.k_BRTD), torch.zeros_like(self.v_BRTD)
        dprefix = None
        if self.prefix_BKD is not None:
            dprefix = (torch.zeros_like(self.prefix_BKD[0]), torch.zeros_like(self.prefix_BKD[1]))
        for b, t in self.parts():
            q, own, prefix = self.scores(b, t)
            norm, delta = norm_BRST[b, :, :, t, None], delta_BRST[b, :, :, t, None]
            grad = grad_BRSTD[b, :, :, t].contiguous()
            own = own.sub_(norm).exp_()
            dq_part = self.own_gradients(own, q, grad, delta, b, t, dk, dv)
            if prefix is not None and dprefix is not None:
                flat_shape = (*prefix.shape[:2], 1)
                prefix = prefix.sub_(norm.reshape(flat_shape)).exp_()
                dq_part += self.prefix_gradients(
                    prefix, q, grad, delta.reshape(flat_shape), b, dprefix
                ).view(q.shape)
            dq[b, :, :, t] = dq_part
        sums.add(self.places, self.places.queries_X, dq, (dk, dv), dprefix)

    def own_gradients(
        self,
        weights: Tensor,
        q: Tensor,
        grad: Tensor,
        delta: Tensor,
        b: slice,
        t: slice,
        dk: Tensor,
        dv: Tensor,
    ) -> Tensor:
        """Gradient of the queries; those of own keys and values are added to ``dk`` and ``dv``."""
        count, rows, group, length, keys = weights.shape
        flat_shape = (count * rows, group * length, -1)
        p, q2, g2 = weights.view(flat_shape), q.view(flat_shape), grad.view(flat_shape)
        k = self.k_BRTD[b, :, : t.stop].reshape(count * rows, keys, -1)
        v = self.v_BRTD[b, :, : t.stop].reshape(count * rows, keys, -1)
        dv[b, :, : t.stop] += torch.bmm(p.transpose(1, 2), g2).view(count, rows, keys, -1)
        ds = torch.bmm(g2, v.transpose(1, 2)).sub_(delta.reshape(flat_shape)).mul_(p)
        dk[b, :, : t.stop] += torch.bmm(ds.transpose(1, 2), q2).view(count, rows, keys, -1)
        return torch.bmm(ds, k).view(q.shape)

    def prefix_gradients(
        self,
        weights: Tensor,
        q: Tensor,
        grad: Tensor,
        delta: Tensor,
        b: slice,
        dprefix: tuple[Tensor, Tensor],
    ) -> Tensor:
        """The same for the prompt's keys and values, whose gradients are sums over all rows."""
        assert self.prefix_BKD is not None
        keys, values = self.prefix_BKD
        dkeys, dvalues = dprefix
        count, width = len(weights), q.shape[-1]
        q2, g2 = q.view(count, -1, width), grad.view(count, -1, width)
        dvalues[b] += self.times(weights.transpose(1, 2), g2)
        ds = self.times(g2, values[b].transpose(1, 2)).sub_(delta).mul_(weights)
        dkeys[b] += self.times(ds.transpose(1, 2), q2)
        return self.times(ds, keys[b])

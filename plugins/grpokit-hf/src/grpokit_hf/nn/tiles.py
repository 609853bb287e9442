"""Attention within a block of a pack by torch's own kernel for CPUs, which goes over the scores in tiles.

The kernel gives, with its result, the log of each query's sum. So a query's own keys and its prompt's are
two calls: their results are added in the shares that the sums give, and the backward of each call, told
the common result and sum, gives its part of the gradients (arXiv 2205.14135, section 3.1 and appendix B.4).
A tile of scores stays within the cache, while :class:`grpokit_hf.nn.packed_attention.Heads` goes over a
whole block's several times, which pays where another multiplier than torch's is much faster.

Suffixes as in :mod:`grpokit_hf.nn.packed_attention`; C is B * S * R.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from grpokit_hf.nn.products import Linear, onednn_linear

if TYPE_CHECKING:
    from grpokit_hf.nn.packed_attention import Places, Sums

__all__ = ["Tiles", "attend", "joined", "pick_tiles", "tiles_work"]

Result = tuple[Tensor, Tensor]
"""(…, queries, D) and the log of each query's sum, (…, queries)."""
Pair = tuple[Tensor, Tensor]
"""Keys and values."""
Gradients = tuple[Tensor, Tensor, Tensor]


class Tiles:
    """The queries, keys and values of a block, by key head, and the arithmetic on them."""

    def __init__(self, places: Places, q_XD: Tensor, k_XD: Tensor, v_XD: Tensor) -> None:
        self.places = places
        self.rows, self.length, self.width = places.rows, places.length, q_XD.shape[1]
        self.group = q_XD.shape[0] // k_XD.shape[0]
        self.q_BSXD = self.of_queries(q_XD)
        self.batch = len(self.q_BSXD)
        self.own = (self.of_own(k_XD), self.of_own(v_XD))
        self.prefix: Pair | None = None
        self.mask: Tensor | None = None
        if places.prefix_X is not None:
            self.prefix = (self.of_prefix(k_XD), self.of_prefix(v_XD))
        if places.hidden_BK is not None:
            seen_BK = torch.zeros(places.hidden_BK.shape, device=q_XD.device)
            self.mask = seen_BK.masked_fill_(places.hidden_BK, -torch.inf)[:, None, None]

    def of_queries(self, table_XD: Tensor) -> Tensor:
        """(B, S, R * T, D), the query heads of a key head outside the rows."""
        found = table_XD[self.places.turned_X]
        return found.view(-1, self.group, self.rows * self.length, table_XD.shape[1])

    def of_own(self, table_XD: Tensor) -> Tensor:
        """(C, 1, T, D), once for each query head."""
        found = table_XD[self.places.own_X].view(-1, 1, self.rows, self.length, self.width)
        spread = found.expand(-1, self.group, -1, -1, -1)
        return spread.reshape(-1, 1, self.length, self.width)

    def of_prefix(self, table_XD: Tensor) -> Tensor:
        """(B, S, K, D), in one place for all query heads."""
        found = table_XD[self.places.prefix_X].view(self.batch, 1, -1, self.width)
        return found.expand(-1, self.group, -1, -1)

    def alone(self, x_BSXD: Tensor) -> Tensor:
        """(C, 1, T, D): the queries of a row by themselves."""
        return x_BSXD.view(-1, 1, self.length, x_BSXD.shape[-1])

    def forward(self) -> Result:
        """The result in the order of ``turned_X``, and the log of each query's sum, (B, S, R * T)."""
        shape = self.q_BSXD.shape
        out, norm = attend(self.alone(self.q_BSXD), *self.own, causal=True)
        out_BSXD, norm_BSX = out.reshape(shape), norm.reshape(shape[:-1])
        if self.prefix is not None:
            more_BSXD, more_BSX = attend(self.q_BSXD, *self.prefix, mask=self.mask)
            out_BSXD = joined((out_BSXD, norm_BSX), (more_BSXD, more_BSX))
            norm_BSX = torch.logaddexp(norm_BSX, more_BSX)
        return out_BSXD.reshape(-1, self.width), norm_BSX

    def backward(self, grad_XD: Tensor, out_XD: Tensor, norm_BSX: Tensor, sums: Sums) -> None:
        """Adds the block's part of the gradients to ``sums``."""
        every = (self.of_queries(grad_XD), self.q_BSXD, self.of_queries(out_XD))
        grad, query, out = map(self.alone, every)
        norm_C1T = norm_BSX.view(-1, 1, self.length)
        dq, dkey, dvalue = gradients(grad, query, out, self.own, norm_C1T, causal=True)
        dq_BSXD = dq.reshape(self.q_BSXD.shape)
        prefix = None
        if self.prefix is not None:
            more, dk, dv = gradients(*every, self.prefix, norm_BSX, mask=self.mask)
            dq_BSXD = dq_BSXD + more
            prefix = (self.summed(dk), self.summed(dv))
        own = (self.summed(dkey), self.summed(dvalue))
        sums.add(self.places, self.places.turned_X, dq_BSXD, own, prefix)

    def summed(self, x: Tensor) -> Tensor:
        """Gradients of the same key from its query heads, as rows of a table."""
        each = x.reshape(self.batch, self.group, -1, self.width)
        return each.sum(1).view(-1, self.width)


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, mask: Tensor | None = None
) -> Result:
    """softmax(Q K' + mask) V with the log of each sum; all (batch, heads, length, D)."""
    found: Result = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(  # noqa: SLF001
        query, key, value, 0.0, causal, attn_mask=mask, scale=1.0
    )
    return found


def joined(one: Result, other: Result) -> Tensor:
    """The result over the keys of both."""
    share = torch.sigmoid(one[1] - other[1])
    return torch.lerp(other[0], one[0], share[..., None])


def gradients(
    grad: Tensor,
    query: Tensor,
    out: Tensor,
    keys: Pair,
    norm: Tensor,
    *,
    causal: bool = False,
    mask: Tensor | None = None,
) -> Gradients:
    """Gradients of query, keys and values, where ``out`` and ``norm`` may be over more keys than these."""
    found: Gradients = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(  # noqa: SLF001
        grad, query, *keys, out, norm, 0.0, causal, attn_mask=mask, scale=1.0
    )
    return found


def pick_tiles(
    wanted: Literal["auto", "tiles", "blocks"], linear: Linear, device: torch.device
) -> bool:
    """Whether packed rows are computed in tiles on ``device``, where ``linear`` multiplies the rest."""
    if wanted == "blocks" or device.type != "cpu" or not tiles_work():
        return False
    return wanted == "tiles" or linear is not onednn_linear


@functools.cache
def tiles_work() -> bool:
    """Whether this torch has the kernel, and its parts add up to a softmax over all keys."""
    generator = torch.Generator().manual_seed(0)
    query, key, value, slope = (torch.randn(2, 3, 8, 16, generator=generator) for _ in range(4))
    weights = torch.softmax(query @ key.transpose(2, 3), dim=-1)
    right = weights @ value
    inner = weights * (slope @ value.transpose(2, 3) - (slope * right).sum(-1, keepdim=True))
    wanted = (right, inner @ key, inner.transpose(2, 3) @ query, weights.transpose(2, 3) @ slope)
    halves = [(key[:, :, part], value[:, :, part]) for part in (slice(5), slice(5, 8))]
    try:
        found = [attend(query, *half) for half in halves]
        norm = torch.logaddexp(found[0][1], found[1][1])
        shares = [x * (own - norm).exp()[..., None] for x, own in found]
        out = shares[0] + shares[1]
        (first, *one), (second, *other) = (
            gradients(slope, query, out, half, norm) for half in halves
        )
    except (AttributeError, RuntimeError, TypeError):  # a torch that calls it otherwise
        return False
    made = (out, first + second, *(torch.cat(x, dim=2) for x in zip(one, other, strict=True)))
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(made, wanted, strict=True))

"""A linear layer, with or without an adapter, as one step of autograd.

The result is written once and the adapter's part added to it in place; the backward keeps the layer's
input and the adapter's inner product, and gives frozen weights no gradient. Suffixes: M tokens, I and
O inputs and outputs, R the adapter's rank.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grpokit_hf.nn.amx import TileLinear
from grpokit_hf.nn.products import Linear

__all__ = ["Adapter", "adapted", "apply_linear"]

Adapter = tuple[Tensor, Tensor, float]
"""down_RI, up_OR and the scale of their product."""


def apply_linear(
    x: Tensor, weight_OI: Tensor, bias_O: Tensor | None, adapter: Adapter | None, linear: Linear
) -> Tensor:
    """X W' + b + scale (x A') B', (..., O) in the type of x; A and B may be of a wider type."""
    down_RI, up_OR, scale = adapter or (None, None, 1.0)
    out: Tensor = _Linear.apply(x, weight_OI, bias_O, down_RI, up_OR, scale, linear)  # type: ignore[no-untyped-call]
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        down_RI: Tensor | None,
        up_OR: Tensor | None,
        scale: float,
        linear: Linear,
    ) -> Tensor:
        x_MI = x.reshape(-1, x.shape[-1])
        low_MR = None
        if down_RI is not None and up_OR is not None:
            small = down_RI.to(x.dtype), (up_OR * scale).to(x.dtype)
            out_MO, low_MR = adapted(linear, x_MI, weight_OI, bias_O, *small)
        else:
            out_MO = linear(x_MI, weight_OI, bias_O)
        ctx.save_for_backward(x_MI, weight_OI, bias_O, down_RI, up_OR, low_MR)
        ctx.scale, ctx.linear, ctx.shape = scale, linear, x.shape
        return out_MO.view(*x.shape[:-1], weight_OI.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_MI, weight_OI, bias_O, down_RI, up_OR, low_MR = ctx.saved_tensors
        want_x, want_weight, want_bias = ctx.needs_input_grad[:3]
        g_MO = grad.reshape(-1, grad.shape[-1])
        dx_MI = ddown_RI = dup_OR = None
        if down_RI is not None:
            small = (up_OR * ctx.scale).to(g_MO.dtype).T, down_RI.to(g_MO.dtype).T
            if want_x:
                dx_MI, glow_MR = adapted(ctx.linear, g_MO, weight_OI.T, None, *small)
            else:
                glow_MR = g_MO @ small[0].T
            ddown_RI = crossed(ctx.linear, glow_MR, x_MI).to(down_RI.dtype)
            dup_RO = crossed(ctx.linear, low_MR, g_MO).to(up_OR.dtype).mul_(ctx.scale)
            dup_OR = dup_RO.T.contiguous()
        elif want_x:
            dx_MI = ctx.linear(g_MO, weight_OI.T)
        dweight_OI = ctx.linear(g_MO.T, x_MI.T) if want_weight else None
        dbias_O = g_MO.sum(0).to(bias_O.dtype) if want_bias else None
        dx = None if dx_MI is None else dx_MI.view(ctx.shape)
        return dx, dweight_OI, dbias_O, ddown_RI, dup_OR, None, None


def adapted(
    linear: Linear,
    x_MI: Tensor,
    weight_OI: Tensor,
    bias_O: Tensor | None,
    down_RI: Tensor,
    up_OR: Tensor,
) -> tuple[Tensor, Tensor]:
    """X W' + b + low up', and low_MR = x down'; all of one type."""
    if isinstance(linear, TileLinear):
        return linear.adapted(x_MI, weight_OI, bias_O, down_RI, up_OR)
    low_MR = linear(x_MI, down_RI)
    return linear(x_MI, weight_OI, bias_O).addmm_(low_MR, up_OR.T), low_MR


def crossed(linear: Linear, a_MR: Tensor, b_MN: Tensor) -> Tensor:
    """A' b, (R, N)."""
    return linear.crossed(a_MR, b_MN) if isinstance(linear, TileLinear) else a_MR.T @ b_MN

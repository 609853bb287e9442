"""What lies between the products of a layer as one step of autograd each, computed in C.

Norms, rotation and SwiGLU cost torch a pass over memory for each sign of their formulas, forward and
backward: on a CPU with fast products that is a third of an update. Layers of the kinds that
:mod:`grpokit_hf.nn.token` knows take ``native/pointwise.c`` instead, which reads and writes once.
Suffixes: M tokens, H hidden size, I inner size, N heads, W width of a head.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from grpokit_hf.native import library
from grpokit_hf.nn.native import HALVES, LANES
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.token import KNOWN

__all__ = ["gated", "install", "normed", "rotated"]


def normed(x: Tensor, weight_H: Tensor, epsilon: float) -> Tensor:
    """Root mean square norm over the last dimension (arXiv 1910.07467)."""
    out: Tensor = _Norm.apply(x, weight_H, epsilon)  # type: ignore[no-untyped-call]
    return out


def gated(gate_MI: Tensor, up_MI: Tensor) -> Tensor:
    """SiLU(gate) * up (arXiv 2002.05202)."""
    out: Tensor = _Gate.apply(gate_MI, up_MI)  # type: ignore[no-untyped-call]
    return out


def rotated(x_MNW: Tensor, cos_MW: Tensor, sin_MW: Tensor) -> Tensor:
    """Rotary position embedding, halves of a head (arXiv 2104.09864)."""
    out: Tensor = _Rotate.apply(x_MNW, cos_MW, sin_MW)  # type: ignore[no-untyped-call]
    return out


def call(name: str, *arguments: Tensor | float) -> None:
    """The function of the library: tensors as addresses, then how many threads and which type."""
    code = library()
    assert code is not None
    dtype = next(x.dtype for x in arguments if isinstance(x, Tensor))
    passed = [
        ctypes.c_void_p(x.data_ptr())
        if isinstance(x, Tensor)
        else (ctypes.c_double(x) if isinstance(x, float) else ctypes.c_int64(x))
        for x in arguments
    ]
    getattr(code, f"grpokit_{name}")(*passed, torch.get_num_threads(), HALVES[dtype])


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_H: Tensor, epsilon: float) -> Tensor:
        x_MH = x.contiguous().view(-1, x.shape[-1])
        out_MH = torch.empty_like(x_MH)
        scale_M = torch.empty(len(x_MH), dtype=torch.float32)
        call("norm", x_MH, weight_H, out_MH, scale_M, *x_MH.shape, epsilon)
        ctx.save_for_backward(x_MH, weight_H, scale_M)
        return out_MH.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_MH, weight_H, scale_M = ctx.saved_tensors
        grad_MH = grad.contiguous().view(x_MH.shape)
        dx_MH = torch.empty_like(x_MH)
        call("norm_back", grad_MH, x_MH, weight_H, scale_M, dx_MH, *x_MH.shape)
        dweight_H = None
        if ctx.needs_input_grad[1]:
            wide_MH = (x_MH.float() * scale_M[:, None]).to(grad_MH.dtype)
            dweight_H = (grad_MH * wide_MH).sum(0)
        return dx_MH.view(grad.shape), dweight_H, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        call("gate", gate, up, out, gate.numel())
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        dgate, dup = torch.empty_like(gate), torch.empty_like(up)
        call("gate_back", grad.contiguous(), gate, up, dgate, dup, gate.numel())
        return dgate, dup


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MNW: Tensor, cos_MW: Tensor, sin_MW: Tensor) -> Tensor:
        x_MNW = x_MNW.contiguous()
        out = torch.empty_like(x_MNW)
        call("rotate", x_MNW, cos_MW, sin_MW, out, *x_MNW.shape, 0)
        ctx.save_for_backward(cos_MW, sin_MW)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos_MW, sin_MW = ctx.saved_tensors
        grad = grad.contiguous()
        dx_MNW = torch.empty_like(grad)
        call("rotate", grad, cos_MW, sin_MW, dx_MNW, *grad.shape, 1)
        return dx_MNW, None, None


def fits(x: Tensor, *others: Tensor) -> bool:
    """Whether the code has this type and shape, and all are of that type."""
    same = all(each.dtype == x.dtype for each in others)
    return x.is_cpu and x.dtype in HALVES and same and x.shape[-1] % LANES == 0


def norm_forward(module: Any, x: Tensor) -> Tensor:
    if not fits(x, module.weight):
        found: Tensor = type(module).forward(module, x)
        return found
    return normed(x, module.weight, float(module.variance_epsilon))


def mlp_forward(module: Any, x: Tensor) -> Tensor:
    gate, up = module.gate_proj(x), module.up_proj(x)
    middle = gated(gate, up) if fits(gate, up) else functional.silu(gate) * up
    out: Tensor = module.down_proj(middle)
    return out


def attention_forward(
    module: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **more: Any,
) -> tuple[Tensor, Any]:
    """Of a packed sequence that trains; anything else as transformers does it."""
    layout: Any = more.get("layout")
    width = int(module.head_dim)
    cos_MW, sin_MW = (x[0] for x in position_embeddings)
    packed = isinstance(layout, Layout) and past_key_values is None and width % (2 * LANES) == 0
    if not packed or not fits(cos_MW, sin_MW) or cos_MW.shape[-1] != width:
        found: tuple[Tensor, Any] = type(module).forward(
            *(module, hidden_states, position_embeddings, attention_mask, past_key_values), **more
        )
        return found
    query, key, value = (
        part(hidden_states).view(hidden_states.shape[1], -1, width)
        for part in (module.q_proj, module.k_proj, module.v_proj)
    )
    if hasattr(module, "q_norm"):
        query, key = module.q_norm(query), module.k_norm(key)
    cos_MW, sin_MW = cos_MW.to(query.dtype).contiguous(), sin_MW.to(query.dtype).contiguous()
    query, key = rotated(query, cos_MW, sin_MW), rotated(key, cos_MW, sin_MW)
    heads = (x.transpose(0, 1)[None] for x in (query, key, value))
    mixed = layout.attend(module, *heads, float(module.scaling))
    return module.o_proj(mixed.reshape(*hidden_states.shape[:2], -1)), None


FORWARDS: dict[str, Callable[..., Any]] = {
    "RMSNorm": norm_forward,
    "MLP": mlp_forward,
    "Attention": attention_forward,
}


def install(model: nn.Module) -> int:
    """Gives the layers of known kinds, and the norm after them, these forwards; says how many layers.

    0 without a C compiler, where an activation is another one, or on a GPU.
    """
    layers: list[Any] = [layer for layer in model.modules() if type(layer).__name__ in KNOWN]
    silu = all("silu" in type(layer.mlp.act_fn).__name__.lower() for layer in layers)
    on_cpu = all(weight.is_cpu for weight in model.parameters())
    if not layers or not silu or not on_cpu or library() is None:
        return 0
    prefix = type(layers[0]).__name__.removesuffix("DecoderLayer")
    for part in model.modules():
        forward = FORWARDS.get(type(part).__name__.removeprefix(prefix))
        if forward is not None and "forward" not in vars(part):
            part.forward = MethodType(forward, part)
    return len(layers)

"""Attention in float32 for models whose weights are bfloat16, and masks in each kernel's form.

The kernel takes three forms: rows with a mask, a packed sequence (:mod:`grpokit_hf.nn.packed_attention`),
and the one next token of each row of a sampling batch (:mod:`grpokit_hf.nn.decode_attention`).

bfloat16 attention is slow on CPUs: most of a step went into it. Casting queries, keys and values
and computing in float32 costs one copy and is several times faster. It is also more exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from grpokit_hf.nn.flex import FlexLayout
from grpokit_hf.nn.packed_attention import Layout

__all__ = ["KERNELS", "causal_mask", "float32_attention", "register"]

KERNELS = {
    "sdpa": "sdpa",
    "eager": "eager",
    "float32": "grpokit_float32",
    "flex": "grpokit_sdpa",
}
"""Setting -> name that transformers knows the kernel by."""

LARGE = 1 << 20
"""Queries times keys from which the scores are not held as one matrix."""


def float32_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,  # noqa: ARG001 - transformers calls every kernel with it
    layout: Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """softmax(Q K' / sqrt(d) + mask) V in float32; the result has the query's type.

    Query heads that share a key head are stacked along the length, so keys are never repeated.
    ``attention_mask`` is additive, (rows, 1, queries, keys), or None for plain causal attention. It is
    not read where a ``layout`` says who sees whom.
    """
    # Autocast would take the products back to bfloat16.
    with torch.autocast(query.device.type, enabled=False):
        if layout is not None:
            return layout.attend(module, query, key, value, scaling), None
        return masked_attention(query, key, value, attention_mask, scaling), None


def masked_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None,
) -> Tensor:
    """Rows with a mask; (rows, queries, heads, width)."""
    rows, heads, length, width = query.shape
    shared, keys = key.shape[1], key.shape[2]
    scale = width**-0.5 if scaling is None else scaling
    dtype = query.dtype
    query, key, value = query.float() * scale, key.float(), value.float()
    if length * keys > LARGE:
        out = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=attention_mask,
            is_causal=attention_mask is None and length > 1,
            scale=1.0,
            enable_gqa=heads != shared,
        )
        return out.transpose(1, 2).to(dtype)
    if attention_mask is None and length > 1:
        attention_mask = causal_mask(query.new_ones(1, keys), length, torch.float32)
    group = heads // shared
    scores = query.reshape(rows, shared, group * length, width) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.view(rows, shared, group, length, keys) + attention_mask.unsqueeze(2)
        scores = scores.view(rows, shared, group * length, keys)
    out = torch.softmax(scores, dim=-1) @ value
    out = out.view(rows, heads, length, width).transpose(1, 2)
    return out.to(dtype)


def sdpa_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    layout: FlexLayout | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Flex attention where a ``layout`` says who sees whom; else transformers' own sdpa."""
    if layout is not None:
        return layout.attend(module, query, key, value, scaling), None
    out: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, scaling=scaling, **settings
    )
    return out


def register() -> None:
    """Makes the kernels known to transformers, each with its masks; twice changes nothing."""
    AttentionInterface.register(KERNELS["float32"], float32_attention)
    AttentionMaskInterface.register(KERNELS["float32"], eager_mask)
    AttentionInterface.register(KERNELS["flex"], sdpa_attention)
    AttentionMaskInterface.register(KERNELS["flex"], sdpa_mask)


def causal_mask(valid_NK: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """Mask (N, 1, queries, K) for the last ``queries`` of K columns; bool, or additive in ``dtype``.

    A position sees itself and the valid positions before it. Padding sees itself, so that no row
    of the softmax is empty; what it computes is never used.
    """
    keys = valid_NK.shape[1]
    column = torch.arange(keys, device=valid_NK.device)
    row = column[keys - queries :, None]
    allowed = (column[None, :] < row)[None] & valid_NK[:, None, :].bool()
    allowed = (allowed | (column[None, :] == row)[None]).unsqueeze(1)
    if dtype == torch.bool:
        return allowed
    mask = torch.zeros(allowed.shape, dtype=dtype, device=valid_NK.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)

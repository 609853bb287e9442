"""Attention over padded rows: float32, also where autocast turns products into bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from grpokit.api import GrpokitError
from grpokit_hf.nn.attention import float32_attention
from updates import gradients


def heads(count: int, generator: torch.Generator) -> Tensor:
    return torch.randn(2, count, 7, 16, generator=generator)


def test_padded_attention_is_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = heads(6, generator), heads(2, generator), heads(2, generator)
    right, _ = float32_attention(nn.Identity(), query, key, value, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = float32_attention(nn.Identity(), query, key, value, None)
        rounded = (query @ query.transpose(2, 3)).dtype
    assert rounded == torch.bfloat16
    assert torch.equal(found, right)


def test_a_model_that_loses_the_layout_is_refused_not_sampled_from(
    make_recipe, open_backend, take
) -> None:
    """Without it every packed prompt would see the others, and nothing would tell."""
    backend = open_backend(make_recipe())
    rollout = take(backend)
    for layer in backend.policy.base.model.layers:
        forward = layer.self_attn.forward
        layer.self_attn.forward = lambda *args, layout=None, forward=forward, **rest: forward(
            *args, **rest
        )
    with pytest.raises(GrpokitError, match="does not hand the layout"):
        take(backend)
    with pytest.raises(GrpokitError, match="does not hand the layout"):
        gradients(backend, rollout)

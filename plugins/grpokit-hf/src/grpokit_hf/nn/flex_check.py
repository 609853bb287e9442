"""Flex attention is tried on the device that it was compiled for, before a run depends on it."""

from __future__ import annotations

import torch
from torch import Tensor

from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.flex import FlexLayout
from grpokit_hf.nn.pack import Pack

__all__ = ["LIMITS", "difference", "relative"]

LIMITS = {torch.float32: 5e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}
"""Largest relative difference: rounding, with TF32 products where torch may take them."""

LENGTHS = ((150, (40, 7, 1)), (30, (90, 90)), (3, (1,)))
"""Prompts and their completions: more than two blocks, and rows that cross the borders of blocks."""


def difference(
    heads: int, shared: int, width: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """What is wrong with result or gradients, or None. Draws nothing from torch's own generator."""
    layout = FlexLayout(Pack.of(sample_rows(), device))
    length = len(layout.pack.ids_L)
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, n, length, width, generator=generator) for n in (heads, shared, shared)]
    query, key, value = leaves = [x.to(device, dtype).requires_grad_() for x in parts]
    grad = torch.randn(1, length, heads, width, generator=generator).to(device, dtype)
    scale = width**-0.5
    ours = layout.attend(torch.nn.Identity(), query, key, value, scale)
    theirs = layout.spread_out(query, key, value, scale).transpose(1, 2)
    found = [ours.detach(), *torch.autograd.grad(ours, leaves, grad)]
    wanted = [theirs.detach(), *torch.autograd.grad(theirs, leaves, grad)]
    names = (
        "the result",
        "the gradient of queries",
        "the gradient of keys",
        "the gradient of values",
    )
    for name, a, b in zip(names, found, wanted, strict=True):
        gap = relative(a, b)
        if not gap <= LIMITS[dtype]:
            return f"{name} differs by {gap:.2g} from plain attention's"
    return None


def sample_rows() -> list[Row]:
    rows = []
    for prompt, (length, completions) in enumerate(LENGTHS):
        rows += [
            Row(
                index=0,
                prompt=prompt,
                prompt_ids=(0,) * length,
                tokens=(number,) * (count + 1),  # nothing in common
                advantage=0.0,
                weight=0.0,
                truncated=False,
                sampler_logprobs=None,
            )
            for number, count in enumerate(completions)
        ]
    return rows


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|, as one vector each."""
    return float((a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-12))

"""An adapter that is the same for all contestants, and numbers by which their gradients are compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grpokit.api import derive_seed

__all__ = ["fill_adapter", "samples_of"]

SPREAD = 0.01
SAMPLES = 8


@torch.no_grad()
def fill_adapter(weights: Mapping[str, Tensor], seed: int) -> None:
    """Random numbers for the matrices that begin as zeros, drawn by name.

    With B = 0 the gradient of A is 0, whatever the rest computes.
    """
    for name, weight in weights.items():
        if "lora_B" in name:
            generator = torch.Generator().manual_seed(derive_seed(seed, "bench", name))
            drawn = SPREAD * torch.randn(weight.shape, generator=generator)
            weight.copy_(drawn.to(weight))


def samples_of(weights: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The norm of each weight's gradient and some numbers of it, evenly spread."""
    found = {}
    for name, weight in weights.items():
        grad = weight.grad
        if grad is None:
            continue
        flat = grad.detach().float().flatten()
        places = torch.linspace(0, len(flat) - 1, SAMPLES).long().to(flat.device)
        found[name] = [float(flat.norm()), *flat[places].tolist()]
    return found

"""An adapter that is the same for all contestants, and numbers by which their gradients are compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grpokit.api import derive_seed

__all__ = ["fill_adapter", "samples_of"]

SPREADS = {"lora_A": 0.02, "lora_B": 0.01}
"""Standard deviation of the matrices of an adapter, by what their names have in them."""
SAMPLES = 8


@torch.no_grad()
def fill_adapter(weights: Mapping[str, Tensor], seed: int) -> None:
    """Random numbers drawn by name, so that all contestants begin alike.

    B does not begin as zeros: the gradient of A would be 0, whatever the rest computes.
    """
    for name, weight in weights.items():
        spread = next((spread for part, spread in SPREADS.items() if part in name), None)
        if spread is not None:
            generator = torch.Generator().manual_seed(derive_seed(seed, "bench", name))
            weight.copy_((spread * torch.randn(weight.shape, generator=generator)).to(weight))


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

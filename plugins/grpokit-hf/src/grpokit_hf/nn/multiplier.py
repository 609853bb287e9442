"""Who multiplies matrices on this machine, and what each is fit for."""

from __future__ import annotations

import functools
import logging
from typing import Literal

import torch

from grpokit_hf.nn import products
from grpokit_hf.nn.amx import TileLinear, amx_works
from grpokit_hf.nn.products import Linear, onednn_linear, torch_linear

__all__ = ["Linear", "Wanted", "pick_linear", "types_of"]

log = logging.getLogger("grpokit.hf")

Wanted = Literal["auto", "torch", "onednn", "amx", "bf16x3"]
PARTS = {"auto": 3, "amx": 3, "bf16x3": 2}


def pick_linear(wanted: Wanted, device: torch.device, *, native: bool = True) -> Linear:
    """The products of a policy on ``device``; those of tiles need ``native``, our C code.

    ``auto`` decides by the processor and not by a stopwatch, so that a resumed run has the same
    products. What is not torch's is taken only where it gives what torch gives.
    """
    if wanted == "torch" or device.type != "cpu":
        return torch_linear
    if wanted in PARTS:
        if native and amx_works():
            return TileLinear(PARTS[wanted])
        if wanted != "auto":
            tell_once(wanted)
    if not products.onednn_works():
        return torch_linear
    return onednn_linear if wanted == "onednn" or products.not_intel() else torch_linear


@functools.cache
def tell_once(wanted: str) -> None:
    log.warning(
        "backend.with.products is %s, but this processor has no AMX tiles, or grpokit's C code is not"
        " there for them: products are what `auto` makes them",
        wanted,
    )


def types_of(linear: Linear) -> frozenset[torch.dtype]:
    """Types that ``linear`` multiplies otherwise than torch."""
    if isinstance(linear, TileLinear):
        return frozenset({torch.float32, torch.bfloat16})
    return frozenset({torch.float32} if linear is onednn_linear else ())

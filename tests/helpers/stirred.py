"""A backend of a tiny model whose adapters do something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from grpokit_hf.backend import HfBackend
from tiny_recipes import tiny_recipe
from update_pairs import LORA

__all__ = ["opened", "stir"]


def opened(
    open_backend: Any, folder: Path, *, lora: bool = True, dtype: str = "float32", **settings: Any
) -> HfBackend:
    """On one CPU thread, with an adapter or all weights trained."""
    recipe = tiny_recipe(
        "hf",
        folder,
        model={"dtype": dtype, "lora": LORA if lora else None},
        backend={"with": {"threads": 1, "device": "cpu", **settings}},
    )
    backend: HfBackend = open_backend(recipe)
    stir(backend)
    return backend


def stir(backend: HfBackend, seed: int = 0) -> None:
    """Random numbers in place of the zeros that adapters begin with."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in backend.policy.model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)

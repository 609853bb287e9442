"""An adapter that is loaded and not computed with ends an evaluation before it measures the base model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpokit.errors import CheckpointError
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.nn import lora


@pytest.fixture
def saved(make_recipe: Any, open_backend: Any, tmp_path: Path) -> Callable[[float], Path]:
    """A policy whose matrices B are of that size."""

    def make(size: float) -> Path:
        folder = tmp_path / f"policy-{size}"
        open_backend(make_recipe()).save_policy(folder)
        [file] = folder.rglob("adapter_model.safetensors")
        weights = load_file(file)
        drawn = torch.Generator().manual_seed(1)
        for name, weight in weights.items():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=drawn) * size)
        save_file(weights, file, metadata={"format": "pt"})
        return folder

    return make


def load(recipe: Any, folder: Path, **settings: Any) -> HfBackend:
    backend = HfBackend(HfConfig.model_validate(settings))
    backend.open_checkpoint(recipe, folder)
    return backend


def ignored(layer: Any, *_: Any) -> Any:
    """What a sampler does that knows nothing of adapters."""
    return layer.base_layer.forward


@pytest.mark.parametrize("fused", [True, False])
def test_one_that_is_heard_is_left_as_it_was(make_recipe: Any, saved: Any, fused: bool) -> None:
    folder = saved(0.1)
    backend = load(make_recipe(), folder, fused=fused)
    [file] = folder.rglob("adapter_model.safetensors")
    weights = {name: weight for name, weight in load_file(file).items() if "lora_B" in name}
    found = [layer.lora_B["default"].weight for layer in lora.lora_layers(backend.policy.model)]
    assert len(found) == len(weights)
    for weight in weights.values():
        assert any(torch.equal(weight, each.detach()) for each in found)
    backend.close()


def test_one_that_is_ignored_ends_it(
    make_recipe: Any, saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "frozen_forward", ignored)
    with pytest.raises(CheckpointError, match="loaded, but not computed with"):
        load(make_recipe(), saved(0.1), fused=False)


@pytest.mark.parametrize("size", [0.0, 1e-6])
def test_one_that_rounding_could_hide_decides_nothing(
    make_recipe: Any, saved: Any, monkeypatch: pytest.MonkeyPatch, size: float
) -> None:
    monkeypatch.setattr(lora, "frozen_forward", ignored)
    load(make_recipe(), saved(size), fused=False).close()


def test_the_size_of_a_change_is_that_of_the_product(make_recipe: Any, saved: Any) -> None:
    from grpokit_hf.applied import _change

    backend = load(make_recipe(), saved(0.1))
    for layer in lora.lora_layers(backend.policy.model):
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        product = layer.scaling["default"] * (up @ down)
        expected = float(product.norm() / layer.base_layer.weight.float().norm())
        assert _change(layer) == pytest.approx(expected, rel=1e-4)
    backend.close()

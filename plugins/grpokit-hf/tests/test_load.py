"""A model folder that cannot become a policy is a message, and no traceback."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from grpokit.api import OutOfMemoryError, PreflightError
from grpokit_hf import load


@pytest.mark.parametrize("lora", [{"rank": 4}, None])
def test_weights_of_a_copy_that_was_broken_off_are_named(
    make_recipe, make_tiny_model, open_backend, lora
):
    folder = make_tiny_model()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:4000])
    recipe = make_recipe(folder, model={"id": str(folder), "lora": lora})
    with pytest.raises(
        PreflightError, match=r"cannot load the model.*bring the model again"
    ) as told:
        open_backend(recipe)
    assert str(folder) in str(told.value)


def test_a_model_that_does_not_fit_in_memory_asks_for_a_smaller_one(
    make_recipe, open_backend, monkeypatch
):
    """Not for another download, though torch's error is a RuntimeError as well."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(OutOfMemoryError, match=r"the model does not fit in memory.*smaller"):
        open_backend(make_recipe())


def test_a_reference_that_does_not_fit_in_memory_is_no_crash(
    make_recipe, open_backend, monkeypatch
):
    def full(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("grpokit_hf.backend.copy", SimpleNamespace(deepcopy=full))
    recipe = make_recipe(model={"lora": None})
    with pytest.raises(OutOfMemoryError, match="reference do not fit in memory"):
        open_backend(recipe, needs_reference=True)


def test_more_processes_than_gpus_are_refused_before_they_meet_on_one(monkeypatch):
    monkeypatch.setattr(load, "several", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert load.local_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(PreflightError, match="3 processes need a GPU each, and torch sees 2"):
        load.local_device()

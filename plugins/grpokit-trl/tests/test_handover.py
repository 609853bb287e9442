"""What vLLM gets while an adapter trains: the sums of TRL's own merge, without its rounding left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grpokit.api import PreflightError, Resets
from grpokit_trl.handover import hand_over_merged


class Engine:
    """TRL's wrapper of vLLM without vLLM: its own walk through the weights, on this model."""

    def __init__(self, trainer: Any) -> None:
        from trl.generation.vllm_generation import VLLMGeneration

        self.real = VLLMGeneration.__new__(VLLMGeneration)
        self.real.model, self.real._dist = trainer.model, trainer._dist
        self.real.mode, self.real.enable_sleep_mode = "colocate", False

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.real._iter_named_params()}


@pytest.fixture
def trained(make_recipe, open_backend):
    """An adapter that does something, on a bfloat16 model."""
    model = {"id": make_recipe().model.id, "dtype": "bfloat16", "lora": {"rank": 4, "alpha": 8.0}}
    backend = open_backend(make_recipe(model=model))
    torch.manual_seed(0)
    for weight in backend.loaded.weights.values():
        weight.data.normal_(std=0.1)
    return backend


def base(backend: Any) -> dict[str, torch.Tensor]:
    named = backend.loaded.model.named_parameters()
    return {name: weight.data.clone() for name, weight in named if "lora_" not in name}


def test_vllm_gets_what_trl_would_give_and_the_frozen_weights_stay(trained):
    engine = Engine(trained.trainer)
    before = base(trained)
    hand_over_merged(engine.real)
    for _ in range(3):
        ours = engine.weights()
    assert all(torch.equal(value, before[name]) for name, value in base(trained).items())
    theirs = Engine(trained.trainer).weights()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype == torch.bfloat16
        assert torch.allclose(ours[name].float(), value.float(), rtol=0.02, atol=1e-3), name
    moved = [name for name, value in base(trained).items() if not torch.equal(value, before[name])]
    assert moved  # why TRL's own way is not taken; once it leaves them alone, this can go


def test_a_trl_that_takes_its_weights_elsewhere_is_refused():
    with pytest.raises(PreflightError, match="VLLMGeneration has no method _iter_named_params"):
        hand_over_merged(object())


def test_an_adapter_on_shared_weights_is_refused(make_recipe, open_backend, tiny_model_folder):
    lora = {"rank": 4, "alpha": 8.0, "targets": ["lm_head"]}
    backend = open_backend(make_recipe(model={"id": str(tiny_model_folder), "lora": lora}))
    model = backend.loaded.base
    model.lm_head.base_layer.weight = model.model.embed_tokens.weight
    with pytest.raises(PreflightError, match="two layers share"):
        hand_over_merged(Engine(backend.trainer).real)


def test_a_policy_that_began_anew_is_handed_over_before_the_next_draw(make_recipe, open_backend):
    backend = open_backend(make_recipe())
    backend.trainer._last_loaded_step = backend.trainer.state.global_step
    backend.reference.reset(Resets(policy=True), backend.trainer)
    assert backend.trainer._last_loaded_step != backend.trainer.state.global_step

"""What is written for vLLM; no vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from grpokit_hf.vllm.sampler import Weights
from grpokit_hf.vllm.sync import Sync, scratch_folder

IDS = torch.tensor([[1, 20, 30, 40, 50, 60]])


@pytest.fixture
def policy(make_recipe, open_backend, tiny_qwen_folder):
    """A tied head and biases; the adapter is not zero."""
    backend = open_backend(make_recipe(tiny_qwen_folder))
    with torch.no_grad():
        for weight in backend.policy.weights.values():
            weight.add_(0.05)
    return backend.policy


def test_an_adapter_in_the_weights_is_the_same_function(policy, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    sync = Sync(folder=tmp_path, dtype=torch.float32, adapter=False)
    weights = sync.write(policy)
    assert weights == Weights(version=1, model=tmp_path / "version-000001")
    merged = AutoModelForCausalLM.from_pretrained(weights.model, dtype=torch.float32)
    with torch.no_grad():
        wanted = policy.model(IDS).logits
        found = merged(IDS).logits
        with policy.model.disable_adapter():
            base = policy.model(IDS).logits
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(found, base, atol=1e-1)
    after = policy.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_each_version_is_a_folder_and_the_last_one_goes(policy, tmp_path: Path) -> None:
    sync = Sync(folder=scratch_folder(tmp_path, 0), dtype=torch.float32, adapter=True)
    sync.write(policy)
    second = sync.write(policy)
    assert second.adapter is not None
    assert second.adapter.name == "version-000002"
    assert [path.name for path in sync.folder.iterdir()] == ["version-000002"]
    assert (second.adapter / "adapter_config.json").is_file()
    sync.close()
    assert list(tmp_path.iterdir()) == []


def test_weights_lie_in_memory_only_where_there_is_room() -> None:
    folder = scratch_folder(None, 1 << 60)
    assert not folder.is_relative_to("/dev/shm")
    folder.rmdir()

"""What is written for vLLM; no vLLM."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from grpokit.api import CheckpointError, NonFiniteError, PreflightError
from grpokit_hf.vllm.sampler import Weights
from grpokit_hf.vllm.scratch import Scratch
from grpokit_hf.vllm.sync import Sync

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
    sync = Sync(scratch=Scratch(tmp_path), dtype=torch.float32, adapter=False)
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
    sync = Sync(scratch=Scratch.make(tmp_path, 0), dtype=torch.float32, adapter=True)
    sync.write(policy)
    second = sync.write(policy)
    assert second.adapter is not None
    assert second.adapter.name == "version-000002"
    assert [path.name for path in sync.scratch.path.iterdir()] == ["version-000002"]
    assert (second.adapter / "adapter_config.json").is_file()
    sync.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("adapter", [True, False])
def test_a_folder_that_takes_nothing_is_said_with_a_way(policy, tmp_path: Path, adapter) -> None:
    """A full disk looks the same from here. The next try begins anew."""
    folder = tmp_path / "folder"
    folder.touch()
    sync = Sync(scratch=Scratch(folder), dtype=torch.float32, adapter=adapter)
    with pytest.raises(CheckpointError, match="cannot be written") as told:
        sync.write(policy)
    assert told.value.place == str(folder)
    assert "backend.with.vllm.folder" in told.value.remedy
    folder.unlink()
    folder.mkdir()
    sync.write(policy)
    assert [path.name for path in folder.iterdir()] == ["version-000002"]


@pytest.mark.parametrize("adapter", [True, False])
def test_weights_that_are_not_finite_do_not_reach_the_engine(policy, tmp_path, adapter) -> None:
    next(iter(policy.weights.values())).data[0, 0] = float("nan")
    sync = Sync(scratch=Scratch(tmp_path), dtype=torch.float32, adapter=adapter)
    with pytest.raises(NonFiniteError):
        sync.write(policy)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_on_an_embedding_is_refused_and_not_lost(policy, tmp_path: Path) -> None:
    """Its head is tied: added to the weights it would change both."""
    base = policy.model.unload()
    settings = LoraConfig(r=2, target_modules=["q_proj", "embed_tokens"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft says the same in its way
        policy.model = get_peft_model(base, settings)
    sync = Sync(scratch=Scratch(tmp_path), dtype=torch.float32, adapter=False)
    with pytest.raises(PreflightError, match=r"adapter changes model\.embed_tokens"):
        sync.write(policy)


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_bias": True}])
def test_more_than_a_product_is_refused(policy, tmp_path: Path, more) -> None:
    base = policy.model.unload()
    settings = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **more)
    policy.model = get_peft_model(base, settings)
    sync = Sync(scratch=Scratch(tmp_path), dtype=torch.float32, adapter=False)
    with pytest.raises(PreflightError, match="q_proj in a way"):
        sync.write(policy)


TWO = """
import json, sys
import torch
from pathlib import Path
from torch import distributed
from grpokit.api import GrpokitError, Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.vllm.scratch import Scratch
from grpokit_hf.vllm.sync import Sync

distributed.init_process_group("gloo")
torch.set_num_threads(1)
recipe = Recipe.model_validate_json(Path(sys.argv[1]).read_text())
backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
backend.open(recipe, needs_reference=False, needs_entropy=False)
folder = Path(sys.argv[2]) / f"rank-{distributed.get_rank()}"
found = []
for adapter in (True, False):
    folder.mkdir()
    sync = Sync(scratch=Scratch(folder), dtype=torch.float32, adapter=adapter)
    weights = sync.write(backend.policy)
    seen = weights.adapter or weights.model
    found.append([str(seen.parent.name), (seen / "adapter_config.json").is_file()])
    distributed.barrier()
    sync.close()
    if distributed.get_rank() == 0:
        folder.touch()  # takes nothing any more
    try:
        sync.write(backend.policy)
    except GrpokitError as error:
        found.append([type(error).__name__, error.fact])
    if distributed.get_rank() == 0:
        folder.unlink()
print(json.dumps(found))
distributed.destroy_process_group()
"""


def test_two_processes_take_one_folder_and_hear_of_a_failure(make_recipe, tmp_path: Path) -> None:
    """The one that does not write would wait for two hours otherwise."""
    (tmp_path / "recipe.json").write_text(make_recipe().model_dump_json(by_alias=True))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path / "recipe.json"), str(tmp_path)],
            env={**os.environ, **common, "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [one.communicate(timeout=150)[0] for one in both]
    finally:
        for one in both:
            one.kill()
    found = [json.loads(text.strip().splitlines()[-1]) for text in said]
    assert [name for name, _ in found[0]] == ["rank-0", "CheckpointError"] * 2
    assert [name for name, _ in found[1]] == ["rank-0", "CheckpointError"] * 2
    assert [found[rank][0][1] for rank in (0, 1)] == [True, True]
    assert "cannot be written" in found[1][3][1]

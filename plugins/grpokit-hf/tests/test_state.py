"""Saving and loading: a continued run is bit-equal to the one that was not stopped."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import (
    Advantages,
    CheckpointError,
    LossInputs,
    LossOutputs,
    NonFiniteError,
    Sampling,
    Selection,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.state import save_tensors


def loss(inputs: LossInputs) -> LossOutputs:
    ratio_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).exp()
    share_NT = ratio_NT * inputs.advantages_N[:, None] * inputs.mask_NT
    total = -share_NT.sum() / inputs.totals.tokens
    if inputs.ref_logprobs_NT is not None:
        total = total + 0.01 * (inputs.logprobs_NT - inputs.ref_logprobs_NT).square().sum()
    return LossOutputs(loss=total)


def train(backend: HfBackend, prompts: Any, first: int, last: int) -> list[tuple[float, str]]:
    """Steps ``first`` to ``last``, rewarding the share of even tokens; what happened, step by step."""
    told = []
    for step in range(first, last + 1):
        rollout = backend.generate(prompts, Sampling(group=4, max_tokens=8, seed=7, step=step))
        rewards = torch.tensor(
            [
                [sum(t % 2 for t in c.token_ids) / len(c.token_ids) for c in group]
                for group in rollout.completions
            ]
        )
        centred = rewards - rewards.mean(1, keepdim=True)
        advantages = Advantages(
            advantages_PG=centred,
            valid_PG=torch.ones_like(centred, dtype=torch.bool),
            dead_P=torch.zeros(len(centred), dtype=torch.bool),
        )
        rows = tuple(rollout.rows())
        selection = Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))
        update = backend.update(loss, rollout, advantages, selection, step)
        told.append((update.metrics["grad_norm"], rollout.completions[0][0].text))
    return told


def save(backend: HfBackend, folder: Path) -> None:
    (folder / "policy").mkdir(parents=True)
    (folder / "state").mkdir()
    backend.save_policy(folder / "policy")
    backend.save_state(folder / "state")


VARIANTS = [
    ({"lora": {"rank": 4, "alpha": 8.0}, "dtype": "float32"}, {}),
    ({"lora": {"rank": 4, "alpha": 8.0}, "dtype": "bfloat16"}, {"iterations": 2, "minibatches": 2}),
    ({"lora": {"rank": 4, "alpha": 8.0, "dropout": 0.3}, "dtype": "float32"}, {}),
    ({"lora": None, "dtype": "float32"}, {"schedule": "cosine", "warmup": 0.3}),
    ({"lora": None, "dtype": "bfloat16"}, {"weight_decay": 0.1}),
]


@pytest.mark.parametrize("qwen", [False, True])
@pytest.mark.parametrize(("model", "optim"), VARIANTS)
def test_a_continued_run_is_bit_equal(
    make_recipe, open_backend, make_prompts, tmp_path, tiny_qwen_folder, model, optim, qwen
):
    model = {**model, "id": str(tiny_qwen_folder)} if qwen else model
    recipe = make_recipe(model=model, optim=optim)
    prompts = make_prompts()
    whole = open_backend(recipe, needs_reference=True)
    told = train(whole, prompts, 1, 4)
    stopped = open_backend(recipe, needs_reference=True)
    train(stopped, prompts, 1, 2)
    save(stopped, tmp_path / "step-2")
    resumed = open_backend(recipe, needs_reference=True)
    resumed.load_state(tmp_path / "step-2")
    assert train(resumed, prompts, 3, 4) == told[2:]
    for name, weight in whole.policy.weights.items():
        assert torch.equal(weight, resumed.policy.weights[name]), name
    save(whole, tmp_path / "a")
    save(resumed, tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes(), path.name


def test_an_adapter_is_small_and_peft_reads_it(make_recipe, open_backend, make_prompts, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    backend = open_backend(make_recipe())
    train(backend, make_prompts(), 1, 2)
    backend.save_policy(tmp_path / "policy")
    assert {p.name for p in (tmp_path / "policy").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    base = AutoModelForCausalLM.from_pretrained(backend.policy.folder)
    model = PeftModel.from_pretrained(base, tmp_path / "policy").eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, backend.policy.model(ids).logits, atol=1e-5)


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("flat", [False, True])
def test_a_saved_policy_samples_like_the_trained_one(
    make_recipe, open_backend, make_prompts, tmp_path, lora, flat
):
    recipe = make_recipe(model={"lora": lora, "dtype": "float32"})
    backend = open_backend(recipe)
    train(backend, make_prompts(), 1, 3)
    folder = tmp_path / "published"
    if flat:
        backend.save_policy(folder)
    else:
        save(backend, folder)
    sampling = Sampling(group=2, max_tokens=20, temperature=0.0)

    def sampled(checkpoint: Path | None) -> Any:
        fresh = HfBackend(backend.config)
        fresh.open_checkpoint(recipe, checkpoint)
        rollout = fresh.generate(make_prompts(), sampling)
        return [[c.token_ids for c in g] for g in rollout.completions], dict(fresh.identity)

    trained = backend.generate(make_prompts(), sampling)
    tokens, identity = sampled(folder)
    base, base_identity = sampled(None)
    assert tokens == [[c.token_ids for c in g] for g in trained.completions]
    assert base != tokens
    assert identity != base_identity
    different = {key for key in identity if identity[key] != base_identity[key]}
    assert different == ({"weights"} if lora is None else {"adapter"})


def test_a_full_model_is_a_whole_model_folder(make_recipe, open_backend, tmp_path):
    from transformers import AutoModelForCausalLM

    from grpokit_hf.text.tokenizer import ChatTokenizer

    backend = open_backend(make_recipe(model={"lora": None, "dtype": "float32"}))
    backend.save_policy(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    for name, weight in again.named_parameters():
        assert torch.equal(weight, backend.policy.weights[name])
    talk = [{"role": "user", "content": "hello"}]
    assert ChatTokenizer(tmp_path).encode(talk) == backend.encode(talk)


def test_weights_that_are_not_finite_are_never_saved(make_recipe, open_backend, tmp_path):
    backend = open_backend(make_recipe())
    with torch.no_grad():
        next(iter(backend.policy.weights.values()))[0] = float("nan")
    with pytest.raises(NonFiniteError, match="not finite"):
        backend.save_policy(tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_nothing_saved_is_a_pickle(make_recipe, open_backend, make_prompts, tmp_path):
    backend = open_backend(make_recipe())
    train(backend, make_prompts(), 1, 1)
    save(backend, tmp_path)
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def test_another_machine_is_told(make_recipe, open_backend, make_prompts, tmp_path, caplog):
    backend = open_backend(make_recipe())
    train(backend, make_prompts(), 1, 1)
    save(backend, tmp_path)
    path = tmp_path / "state" / "trainer.json"
    record = json.loads(path.read_text())
    record["machine"]["threads"] = 64
    path.write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING, logger="grpokit.hf"):
        backend.load_state(tmp_path)
    assert "threads 64" in caplog.text
    assert "not bit for bit" in caplog.text


@pytest.mark.parametrize("broken", ["state/trainer.json", "state/optimizer.safetensors"])
def test_a_broken_state_is_an_error(make_recipe, open_backend, make_prompts, tmp_path, broken):
    backend = open_backend(make_recipe())
    train(backend, make_prompts(), 1, 1)
    save(backend, tmp_path)
    (tmp_path / broken).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        backend.load_state(tmp_path)


@pytest.mark.parametrize("damage", ["other rank", "missing weight", "not safetensors"])
def test_an_adapter_that_does_not_fit_is_never_left_out_in_silence(
    make_recipe, open_backend, tmp_path, damage
):
    from safetensors.torch import load_file, save_file

    backend = open_backend(make_recipe())
    backend.save_policy(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    if damage == "other rank":
        config = json.loads((tmp_path / "adapter_config.json").read_text())
        (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "r": 2}))
    elif damage == "missing weight":
        renamed = {name.replace("layers.1", "layers.9"): v for name, v in tensors.items()}
        save_file(renamed, path)
    else:
        path.write_bytes(b"no")
    fresh = HfBackend(backend.config)
    with pytest.raises(CheckpointError, match="does not fit"):
        fresh.open_checkpoint(make_recipe(), tmp_path)


def test_another_micro_batch_holds_for_a_resumed_run(make_recipe, open_backend, tmp_path):
    backend = open_backend(make_recipe(optim={"micro_batch": 8}))
    backend.trainer.limit_rows = 4  # memory ran out
    save(backend, tmp_path)
    same = open_backend(make_recipe(optim={"micro_batch": 8}))
    same.load_state(tmp_path)
    assert same.trainer.limit_rows == 4
    smaller = open_backend(make_recipe(optim={"micro_batch": 2}))
    smaller.load_state(tmp_path)
    assert smaller.trainer.limit_rows == 2


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path):
    """safetensors has an error of its own, which nothing above the backend knows."""
    with pytest.raises(OSError, match="No such file"):
        save_tensors({"a": torch.zeros(3)}, tmp_path / "missing" / "a.safetensors")


def test_defaults_for_generation_that_contradict_each_other_do_not_stop_a_save(
    make_recipe, open_backend, make_tiny_model, tmp_path
):
    folder = make_tiny_model()
    settings = {"temperature": 0.6, "eos_token_id": [0, 2], "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    backend = open_backend(make_recipe(folder, model={"lora": None}))
    backend.save_policy(tmp_path / "policy")
    written = json.loads((tmp_path / "policy" / "generation_config.json").read_text())
    assert written["eos_token_id"] == [0, 2]

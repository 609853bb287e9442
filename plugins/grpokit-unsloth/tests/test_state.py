"""What is saved and read again: resume bit by bit, a checkpoint for evaluation, resets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Prompt, Resets, Sampling

SHAPES = [None, {"rank": 4, "alpha": 8.0, "dropout": 0.1}]


def steps(backend: Any, prompts: list[Prompt], first: int, last: int) -> list[float]:
    from updates import advantages_of, everything, token_loss

    norms = []
    for step in range(first, last + 1):
        rollout = backend.generate(prompts, Sampling(group=4, max_tokens=8, seed=7, step=step))
        update = backend.update(
            token_loss, rollout, advantages_of(rollout), everything(rollout), step
        )
        norms.append(update.metrics["grad_norm"])
    return norms


def save(backend: Any, folder: Path) -> Path:
    for part in ("policy", "state"):
        (folder / part).mkdir(parents=True)
    backend.save_policy(folder / "policy")
    backend.save_state(folder / "state")
    return folder


@pytest.mark.parametrize("lora", SHAPES)
def test_a_resumed_run_is_bit_equal(
    make_recipe, open_backend, prompts: list[Prompt], tmp_path: Path, lora: Any
) -> None:
    import torch

    recipe = make_recipe(model={"lora": lora})
    through = open_backend(recipe)
    norms = steps(through, prompts, 1, 4)
    broken = open_backend(recipe)
    steps(broken, prompts, 1, 2)
    folder = save(broken, tmp_path)
    resumed = open_backend(recipe)
    resumed.load_state(folder)
    assert steps(resumed, prompts, 3, 4) == norms[2:]
    for name, weight in through.policy.weights.items():
        assert torch.equal(weight, resumed.policy.weights[name]), name


@pytest.mark.parametrize("lora", [None, {"rank": 6, "alpha": 8.0}])
def test_a_checkpoint_is_opened_with_its_weights(
    make_recipe, open_backend, prompts: list[Prompt], tmp_path: Path, lora: Any
) -> None:
    from grpokit.engine.session import make_backend
    from grpokit.registry.catalog import Catalog

    greedy = Sampling(group=1, max_tokens=12, temperature=0.0)
    backend = open_backend(make_recipe(model={"lora": lora}, optim={"lr": 0.1}))
    base = backend.generate(prompts, greedy)
    steps(backend, prompts, 1, 2)
    trained = backend.generate(prompts, greedy)
    folder = save(backend, tmp_path)
    recipe = make_recipe(model={"lora": None if lora is None else {"rank": 4}})
    sampler = make_backend(Catalog.load(), recipe)  # the checkpoint knows its own rank
    sampler.open_checkpoint(recipe, folder)
    assert sampler.generate(prompts, greedy).completions == trained.completions
    identity = sampler.identity
    sampler.open_checkpoint(recipe, None)
    assert sampler.generate(prompts, greedy).completions == base.completions
    assert base.completions != trained.completions
    assert sampler.identity != identity
    assert (identity["backend"], "unsloth" in identity["versions"]) == ("unsloth", True)
    sampler.close()


def test_what_is_saved_is_what_hf_reads(
    make_recipe, open_backend, prompts: list[Prompt], tmp_path: Path
) -> None:
    from grpokit_hf.backend import HfBackend

    greedy = Sampling(group=1, max_tokens=12, temperature=0.0)
    recipe = make_recipe(optim={"lr": 0.1})
    backend = open_backend(recipe)
    steps(backend, prompts, 1, 2)
    folder = save(backend, tmp_path)
    config = json.loads((folder / "policy/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 8.0)
    other = HfBackend(backend.settings.as_hf())
    other.open_checkpoint(recipe, folder)
    ours, theirs = (
        [each for group in one.generate(prompts, greedy).completions for each in group]
        for one in (backend, other)
    )
    for a, b in zip(ours, theirs, strict=True):  # hf computes its own model's norms in C
        assert (a.token_ids, a.finish) == (b.token_ids, b.finish)
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
    other.close()


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_policy_and_optimiser_begin_anew(
    make_recipe, open_backend, prompts: list[Prompt], lora: Any
) -> None:
    greedy = Sampling(group=1, max_tokens=12, temperature=0.0)
    backend = open_backend(make_recipe(model={"lora": lora}, optim={"lr": 0.1}))
    base = backend.generate(prompts, greedy)
    steps(backend, prompts, 1, 2)
    assert backend.generate(prompts, greedy).completions != base.completions
    backend.reset(Resets(policy=True, optimizer=True))
    assert backend.generate(prompts, greedy).completions == base.completions


def test_a_gpu_takes_adapters_and_bfloat16_only_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from grpokit.api import PreflightError
    from grpokit_unsloth.load import check_gpu

    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        check_gpu(torch.float32, full=False)
        if has:
            check_gpu(torch.bfloat16, full=False)
            continue
        with pytest.raises(PreflightError, match="no bfloat16"):
            check_gpu(torch.bfloat16, full=False)
    with pytest.raises(PreflightError, match="adapters only"):
        check_gpu(torch.float32, full=True)

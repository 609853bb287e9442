"""Checks that need a CUDA device. docs/gpu-checks.md says how to run them and what to write down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from grpokit.api import Advantages, LossInputs, LossOutputs, Sampling, Selection

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = {"with": {"device": "cuda", "threads": 1}}
SDPA_CPU = {"with": {"device": "cpu", "threads": 1, "attention": "sdpa"}}


def loss(inputs: LossInputs) -> LossOutputs:
    ratio_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).exp()
    share_NT = ratio_NT * inputs.advantages_N[:, None] * inputs.mask_NT
    return LossOutputs(loss=-share_NT.sum() / inputs.totals.tokens)


def step(backend: Any, prompts: Any, index: int, rollout: Any = None) -> Any:
    if rollout is None:
        sampling = Sampling(group=4, max_tokens=8, seed=7, step=index)
        rollout = backend.generate(prompts, sampling)
    shape = (len(rollout.prompts), rollout.group)
    advantages = Advantages(
        advantages_PG=torch.linspace(-1, 1, shape[0] * shape[1]).view(shape),
        valid_PG=torch.ones(shape, dtype=torch.bool),
        dead_P=torch.zeros(shape[0], dtype=torch.bool),
    )
    rows = tuple(rollout.rows())
    selection = Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))
    return rollout, backend.update(loss, rollout, advantages, selection, index)


def test_greedy_on_the_gpu_equals_the_cpu(make_recipe, open_backend, make_prompts):
    gpu, cpu = open_backend(make_recipe(backend=CUDA)), open_backend(make_recipe())
    sampling = Sampling(group=1, max_tokens=30, temperature=0.0)
    a, b = (backend.generate(make_prompts(), sampling) for backend in (gpu, cpu))
    assert [c[0].token_ids for c in a.completions] == [c[0].token_ids for c in b.completions]


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_update_on_the_gpu_equals_the_cpu(
    make_recipe, open_backend, make_prompts, lora, checkpointing
):
    model = {"lora": lora, "dtype": "float32", "gradient_checkpointing": checkpointing}
    gpu = open_backend(make_recipe(backend=CUDA, model=model))
    cpu = open_backend(make_recipe(backend=SDPA_CPU, model=model))
    rollout, one = step(cpu, make_prompts(), 1)
    _, two = step(gpu, make_prompts(), 1, rollout)
    assert two.metrics["grad_norm"] == pytest.approx(one.metrics["grad_norm"], rel=1e-3)
    for name, weight in cpu.policy.weights.items():
        assert torch.allclose(weight, gpu.policy.weights[name].cpu(), atol=1e-4), name


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_a_run_on_the_gpu_repeats_and_resumes(
    make_recipe, open_backend, make_prompts, tmp_path, lora
):
    model = {"lora": lora, "dtype": "bfloat16"}
    recipe = make_recipe(backend=CUDA, model=model)
    whole, stopped, resumed = (open_backend(recipe) for _ in range(3))
    for index in (1, 2, 3):
        step(whole, make_prompts(), index)
    for index in (1, 2):
        step(stopped, make_prompts(), index)
    (tmp_path / "policy").mkdir()
    (tmp_path / "state").mkdir()
    stopped.save_policy(tmp_path / "policy")
    stopped.save_state(tmp_path / "state")
    resumed.load_state(tmp_path)
    step(resumed, make_prompts(), 3)
    for name, weight in whole.policy.weights.items():
        assert torch.equal(weight, resumed.policy.weights[name]), name


def test_memory_that_runs_out_is_survived(make_recipe, open_backend, make_prompts):
    """A cap on the process's memory makes the first cut too large and a smaller one fit."""
    backend = open_backend(make_recipe(backend=CUDA))
    prompts = make_prompts(*["word " * 120 + str(i) for i in range(8)])
    rollout = backend.generate(prompts, Sampling(group=16, max_tokens=64, seed=1))
    free, total = torch.cuda.mem_get_info()
    del free
    torch.cuda.empty_cache()
    used = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (used + 64e6) / total))
    try:
        _, update = step(backend, prompts, 1, rollout)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert update.optimizer_steps == 1
    assert backend.trainer.limit_rows is not None


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_flex_attention_equals_padded_rows_on_the_gpu(
    make_recipe, make_tiny_model, open_backend, make_prompts, lora, checkpointing
):
    folder = make_tiny_model(hidden=64)  # heads of 16, the narrowest that its kernel takes
    model = {"lora": lora, "dtype": "float32", "gradient_checkpointing": checkpointing}
    padded = {"with": {**CUDA["with"], "attention": "sdpa"}}
    flex = open_backend(make_recipe(folder, backend=CUDA, model=model))
    sdpa = open_backend(make_recipe(folder, backend=padded, model=model))
    assert flex.policy.kernel == "flex"
    assert flex.policy.forward().shared
    assert not sdpa.policy.forward().shared
    rollout, one = step(sdpa, make_prompts(), 1)
    _, two = step(flex, make_prompts(), 1, rollout)
    assert two.metrics["grad_norm"] == pytest.approx(one.metrics["grad_norm"], rel=1e-4)
    for name, weight in sdpa.policy.weights.items():
        assert torch.allclose(weight, flex.policy.weights[name], atol=1e-4), name


def test_one_compiled_kernel_serves_all_lengths(
    make_recipe, make_tiny_model, open_backend, make_prompts
):
    from torch._dynamo.utils import counters

    backend = open_backend(make_recipe(make_tiny_model(hidden=64), backend=CUDA))
    for index, count in enumerate((3, 8, 5, 12, 2), 1):
        prompts = make_prompts(*["word " * 8 * place for place in range(1, count)])
        step(backend, prompts, index)
        if index == 2:
            before = counters["stats"]["unique_graphs"]
    assert counters["stats"]["unique_graphs"] == before


def test_sampler_and_trainer_agree_on_the_gpu(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe(backend=CUDA, model={"dtype": "bfloat16"}))
    rollout = backend.generate(make_prompts(), Sampling(group=4, max_tokens=16, seed=3))
    gaps = []

    def watch(inputs: LossInputs) -> LossOutputs:
        assert inputs.sampler_logprobs_NT is not None
        gap_NT = (inputs.logprobs_NT - inputs.sampler_logprobs_NT).abs() * inputs.mask_NT
        gaps.append((gap_NT.sum() / inputs.mask_NT.sum()).item())
        return replace(loss(inputs))

    rows = tuple(rollout.rows())
    advantages = Advantages(
        advantages_PG=torch.ones(3, 4),
        valid_PG=torch.ones(3, 4, dtype=torch.bool),
        dead_P=torch.zeros(3, dtype=torch.bool),
    )
    selection = Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))
    backend.update(watch, rollout, advantages, selection, 1)
    assert max(gaps) < 0.05

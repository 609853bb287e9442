"""What begins anew in the course of a run: reference, optimiser, policy; and that a resume knows of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import CheckpointError, Interrupted, LossInputs, LossOutputs, Resets, Sampling
from grpokit_hf.backend import HfBackend
from updates import advantages_of, everything, token_loss

LORA = {"lora": {"rank": 4, "alpha": 8.0}, "dtype": "float32"}
FULL = {"lora": None, "dtype": "float32"}
MODELS = pytest.mark.parametrize("model", [LORA, FULL], ids=["lora", "full"])
REFERENCE = Resets(reference=True, optimizer=True)
POLICY = Resets(policy=True, optimizer=True)


def step(backend: HfBackend, prompts: Any, index: int, resets: Resets | None = None) -> list[float]:
    """Resets and trains; the largest distance to the reference in each optimiser step."""
    gaps: list[float] = []

    def watch(inputs: LossInputs) -> LossOutputs:
        if inputs.ref_logprobs_NT is not None:
            gap_NT = (inputs.logprobs_NT - inputs.ref_logprobs_NT).abs() * inputs.mask_NT
            gaps.append(float(gap_NT.detach().max()))
        return token_loss(inputs)

    rollout = backend.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=index))
    if resets is not None:
        backend.reset(resets)
    backend.update(watch, rollout, advantages_of(rollout), everything(rollout), index)
    return gaps


def copied(backend: HfBackend) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in backend.policy.weights.items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    assert set(left) == set(right)
    return all(torch.equal(left[name], right[name]) for name in left)


def save(backend: HfBackend, folder: Path) -> Path:
    (folder / "policy").mkdir(parents=True)
    (folder / "state").mkdir()
    backend.save_policy(folder / "policy")
    backend.save_state(folder / "state")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def moments(backend: HfBackend) -> int:
    return sum(
        bool(backend.trainer.optimizer.state.get(w)) for w in backend.policy.weights.values()
    )


@MODELS
def test_the_divergence_is_zero_right_after_a_reset_and_grows_again(
    make_recipe, open_backend, make_prompts, model
):
    """Exactly zero: the same forward on the same weights."""
    recipe = make_recipe(model=model, optim={"iterations": 2})
    backend = open_backend(recipe, needs_reference=True)
    prompts = make_prompts()
    for index in (1, 2):
        before = step(backend, prompts, index)
    assert before[0] > 1e-3
    first, second = step(backend, prompts, 3, REFERENCE)
    assert first == 0.0
    assert second > 1e-3
    assert step(backend, prompts, 4)[0] > 1e-3


@MODELS
def test_a_reset_reference_leaves_the_policy_alone(make_recipe, open_backend, make_prompts, model):
    backend = open_backend(make_recipe(model=model), needs_reference=True)
    step(backend, make_prompts(), 1)
    weights = copied(backend)
    backend.reset(Resets(reference=True))
    assert same(copied(backend), weights)
    assert moments(backend) > 0
    backend.reset(Resets(optimizer=True))
    assert same(copied(backend), weights)
    assert moments(backend) == 0


@MODELS
def test_a_fresh_optimiser_takes_the_step_of_a_first_one(
    make_recipe, open_backend, make_prompts, model
):
    """AdamW's first step has size lr in every weight that has a gradient."""
    backend = open_backend(make_recipe(model=model))
    prompts = make_prompts()
    for index in (1, 2, 3):
        step(backend, prompts, index)
    weights = copied(backend)
    step(backend, prompts, 4, Resets(optimizer=True))
    sizes = [float((w - weights[name]).abs().max()) for name, w in copied(backend).items()]
    assert max(sizes) == pytest.approx(1e-2, rel=1e-3)
    assert all(size <= 1.001e-2 for size in sizes)


VARIANTS = [
    *((model, False) for model in (LORA, FULL)),
    *(({**model, "dtype": "bfloat16"}, True) for model in (LORA, FULL)),
]


@pytest.mark.parametrize(("model", "qwen"), VARIANTS, ids=["lora", "full", "qwen-lora", "qwen"])
@pytest.mark.parametrize("resets", [REFERENCE, POLICY, Resets(policy=True, reference=True)])
def test_a_run_with_resets_continues_bit_by_bit(
    make_recipe, open_backend, make_prompts, tmp_path, tiny_qwen_folder, model, qwen, resets
):
    """Saved after the reset, and before it. Qwen has a tied head, and is bfloat16 here."""
    recipe = make_recipe(model={**model, "id": str(tiny_qwen_folder)} if qwen else model)
    prompts = make_prompts()
    whole = open_backend(recipe, needs_reference=True)
    told = [step(whole, prompts, index, resets if index == 3 else None) for index in (1, 2, 3, 4)]
    save(whole, tmp_path / "whole")
    for last in (2, 3):
        stopped = open_backend(recipe, needs_reference=True)
        for index in range(1, last + 1):
            step(stopped, prompts, index, resets if index == 3 else None)
        folder = save(stopped, tmp_path / f"after-{last}")
        assert (folder / "state" / "reference.safetensors").is_file() == (
            resets.reference and last == 3
        )
        resumed = open_backend(recipe, needs_reference=True)
        resumed.load_state(folder)
        rest = [
            step(resumed, prompts, index, resets if index == 3 else None)
            for index in range(last + 1, 5)
        ]
        assert rest == told[last:]
        assert files(save(resumed, tmp_path / f"again-{last}")) == files(tmp_path / "whole")


@MODELS
def test_a_reset_policy_is_that_of_the_first_step(make_recipe, open_backend, make_prompts, model):
    """A whole model is as it was loaded; an adapter does nothing, and is each time the same."""
    backend = open_backend(make_recipe(model=model), needs_reference=True)
    prompts = make_prompts()
    start = copied(backend)
    step(backend, prompts, 1)
    backend.reset(POLICY)
    again = copied(backend)
    if model["lora"] is None:
        assert same(again, start)
    rollout = backend.generate(prompts, Sampling(group=2, max_tokens=10, temperature=0.0))
    fresh = open_backend(make_recipe(model=model))
    expected = fresh.generate(prompts, Sampling(group=2, max_tokens=10, temperature=0.0))
    assert rollout.completions == expected.completions
    assert step(backend, prompts, 2)[0] == 0.0
    assert step(backend, prompts, 3)[0] > 1e-3
    backend.reset(POLICY)
    assert same(copied(backend), again)


@MODELS
def test_an_update_after_a_policy_reset_is_fine_tuning_the_loaded_model(
    make_recipe, open_backend, make_prompts, model
):
    """Whatever was trained before: the same rows give the same weights."""
    recipe = make_recipe(model=model)
    prompts = make_prompts()
    trained, other = open_backend(recipe), open_backend(recipe)
    for index in (1, 2):
        step(trained, prompts, index)
    rollout = trained.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=3))
    for backend in (trained, other):
        backend.reset(POLICY)
        backend.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 3)
    assert same(copied(trained), copied(other))


@MODELS
def test_resetting_twice_is_resetting_once(make_recipe, open_backend, make_prompts, model):
    """An interrupted step asks again."""
    prompts = make_prompts()
    once, twice = (open_backend(make_recipe(model=model), needs_reference=True) for _ in range(2))
    for backend in (once, twice):
        step(backend, prompts, 1)
    twice.reset(REFERENCE)
    for backend in (once, twice):
        assert step(backend, prompts, 2, REFERENCE)[0] == 0.0
    assert same(copied(once), copied(twice))


@MODELS
def test_an_interrupt_after_a_reset_of_the_reference_may_be_taken_again(
    make_recipe, open_backend, make_prompts, tmp_path, model
):
    """The update is interrupted before its first optimiser step; the step is then taken again."""
    prompts = make_prompts()
    calm, stopped = (open_backend(make_recipe(model=model), needs_reference=True) for _ in range(2))
    for backend in (calm, stopped):
        step(backend, prompts, 1)
    rollout = stopped.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=2))

    def stop() -> None:
        raise Interrupted("stop")

    stopped.reset(REFERENCE)
    with pytest.raises(Interrupted):
        stopped.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 2, stop)
    folder = save(stopped, tmp_path)
    resumed = open_backend(make_recipe(model=model), needs_reference=True)
    resumed.load_state(folder)
    gaps = [step(backend, prompts, 2, REFERENCE) for backend in (calm, stopped, resumed)]
    assert gaps[0] == gaps[1] == gaps[2]
    assert same(copied(calm), copied(stopped))
    assert same(copied(calm), copied(resumed))


@MODELS
def test_a_policy_between_reset_and_update_is_not_saved(
    make_recipe, open_backend, make_prompts, tmp_path, model
):
    backend = open_backend(make_recipe(model=model))
    prompts = make_prompts()
    step(backend, prompts, 1)
    backend.reset(POLICY)
    with pytest.raises(CheckpointError, match="between two steps"):
        backend.save_state(tmp_path)
    rollout = backend.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=2))
    nothing = replace(everything(rollout), rows=(), weights=())
    backend.update(token_loss, rollout, advantages_of(rollout), nothing, 2)
    backend.save_state(tmp_path)


@MODELS
def test_the_swap_of_a_reference_leaves_no_trace(make_recipe, open_backend, make_prompts, model):
    """A forward of the reference that fails puts the policy back."""
    backend = open_backend(make_recipe(model=model), needs_reference=True)
    prompts = make_prompts()
    step(backend, prompts, 1)
    backend.reset(Resets(reference=True))
    step(backend, prompts, 2)
    weights = copied(backend)
    rollout = backend.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=3))
    polls = 0

    def stop() -> None:
        nonlocal polls
        polls += 1
        raise Interrupted("stop")

    with pytest.raises(Interrupted):
        backend.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 3, stop)
    assert polls == 1
    assert same(copied(backend), weights)


@pytest.mark.parametrize("damage", ["another name", "another rank", "not safetensors"])
@MODELS
def test_a_saved_reference_that_does_not_fit_is_refused(
    make_recipe, open_backend, make_prompts, tmp_path, model, damage
):
    from safetensors.torch import load_file, save_file

    backend = open_backend(make_recipe(model=model), needs_reference=True)
    step(backend, make_prompts(), 1, REFERENCE)
    folder = save(backend, tmp_path)
    path = folder / "state" / "reference.safetensors"
    tensors = load_file(path)
    if damage == "another name":
        save_file({name + "x": value for name, value in tensors.items()}, path)
    elif damage == "another rank":
        save_file({name: value[:1].clone() for name, value in tensors.items()}, path)
    else:
        path.write_bytes(b"no")
    fresh = open_backend(make_recipe(model=model), needs_reference=True)
    with pytest.raises(CheckpointError, match=r"does not fit the model|cannot be read"):
        fresh.load_state(folder)


def test_gradients_stay_finite_after_many_resets(
    make_recipe, open_backend, make_prompts: Callable[..., Any]
):
    backend = open_backend(make_recipe(model=LORA), needs_reference=True)
    for index in range(1, 6):
        gaps = step(backend, make_prompts(), index, REFERENCE)
        assert gaps[0] == 0.0
        assert all(math.isfinite(gap) for gap in gaps)

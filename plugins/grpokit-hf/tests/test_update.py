"""The update: its gradient against a plain reference, for any cut into micro-batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grpokit.api import LossInputs, LossOutputs, Selection
from grpokit_hf.backend import HfBackend
from updates import advantages_of, assert_close, everything, gradients, plain_gradients, token_loss


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("attention", ["float32", "sdpa", "eager"])
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_gradient_equals_the_plain_one(
    make_recipe, open_backend, take, tiny_qwen_folder, lora, attention, temperature
):
    settings = {"with": {"threads": 1, "attention": attention, "device": "cpu"}}
    recipe = make_recipe(tiny_qwen_folder, model={"lora": lora}, backend=settings)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"id": str(tiny_qwen_folder)})}
    )
    backend = open_backend(recipe)
    wake(backend)
    rollout = take(backend, temperature=temperature)
    expected = plain_gradients(backend, rollout, temperature)
    assert_close(gradients(backend, rollout), expected)


def wake(backend: HfBackend) -> None:
    """LoRA starts with B = 0, where A has no gradient: move it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "lora_B" in name:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))


CUTS = [
    {"micro_batch": 1},
    {"micro_batch": 5},
    {"micro_tokens": 1},
    {"micro_tokens": 120},
    {"micro_tokens": 100_000},
]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_any_micro_batch_split_gives_the_same_gradient(
    make_recipe, open_backend, take, cut: dict[str, int], checkpointing: bool
):
    whole = open_backend(make_recipe(optim={"micro_batch": 1000}))
    parts = open_backend(make_recipe(optim=cut, model=dict(whole_model(whole, checkpointing))))
    wake(whole)
    wake(parts)
    assert parts.policy.forward().shared
    rollout = take(whole)
    assert_close(gradients(parts, rollout), gradients(whole, rollout))


def whole_model(backend: HfBackend, checkpointing: bool) -> dict[str, Any]:
    return {
        "id": str(backend.policy.folder),
        "dtype": "float32",
        "lora": {"rank": 4, "alpha": 8.0},
        "gradient_checkpointing": checkpointing,
    }


def test_gradient_checkpointing_really_recomputes(make_recipe, open_backend, take):
    recipe = make_recipe()
    model = recipe.model.model_copy(update={"gradient_checkpointing": True})
    backend = open_backend(recipe.model_copy(update={"model": model}))
    calls = []
    layer = backend.policy.base.model.layers[0].mlp
    layer.register_forward_pre_hook(lambda *_: calls.append(1))
    backend_rollout = take(backend)
    calls.clear()
    gradients(backend, backend_rollout)
    assert len(calls) == 2


def test_bfloat16_is_close(make_recipe, open_backend, take, tiny_model_folder):
    exact = open_backend(make_recipe())
    low = open_backend(make_recipe(model={"dtype": "bfloat16", "lora": {"rank": 4, "alpha": 8.0}}))
    mixed = open_backend(make_recipe(model={"dtype": "bfloat16", "lora": None}))
    full = open_backend(make_recipe(model={"dtype": "float32", "lora": None}))
    for backend in (exact, low, mixed, full):
        assert {w.dtype for w in backend.policy.weights.values()} == {torch.float32}
    assert low.policy.base.model.layers[0].mlp.up_proj.base_layer.weight.dtype == torch.bfloat16
    wake(exact)
    wake(low)
    rollout = take(exact)
    for rough, fine in ((low, exact), (mixed, full)):
        a, b = gradients(rough, rollout), gradients(fine, rollout)
        left = torch.cat([value.flatten() for value in a.values()])
        right = torch.cat([value.flatten() for value in b.values()])
        cosine = torch.nn.functional.cosine_similarity(left, right, dim=0)
        assert cosine > 0.99
        assert not torch.equal(left, right)


def test_rows_of_weight_zero_count_but_need_no_forward(make_recipe, open_backend, take):
    one, two = open_backend(make_recipe()), open_backend(make_recipe())
    rollout = take(one)
    table = advantages_of(rollout)
    rows = tuple(rollout.rows())
    off = tuple(0.0 if (p, g) == (0, 0) else 1.0 for p, g in rows)
    seen: list[int] = []

    def counting(inputs: LossInputs) -> LossOutputs:
        seen.append(len(inputs.weights_N))
        return token_loss(inputs)

    one.update(token_loss, rollout, table, everything(rollout), 1)
    two.update(
        counting, rollout, table, Selection(rows=rows, weights=off, denominator=len(rows)), 1
    )
    assert sum(seen) == len(rows) - 1
    for name, weight in one.policy.weights.items():
        assert torch.allclose(weight, two.policy.weights[name], atol=1e-6)


def test_nothing_to_train_on_changes_nothing(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    before = {name: w.detach().clone() for name, w in backend.policy.weights.items()}
    update = backend.update(
        token_loss, rollout, advantages_of(rollout), everything(rollout, weight=0.0), 1
    )
    assert update.optimizer_steps == 0
    assert all(torch.equal(w, before[n]) for n, w in backend.policy.weights.items())


def test_several_steps_use_the_old_policy(make_recipe, open_backend, take):
    backend = open_backend(make_recipe(optim={"iterations": 2, "minibatches": 2, "lr": 5e-2}))
    rollout = take(backend)
    ratios = []

    def watch(inputs: LossInputs) -> LossOutputs:
        gap = ((inputs.logprobs_NT - inputs.old_logprobs_NT) * inputs.mask_NT).abs().max()
        ratios.append((gap.item(), inputs.totals.rows, inputs.totals.tokens))
        return token_loss(inputs)

    update = backend.update(watch, rollout, advantages_of(rollout), everything(rollout), 1)
    tokens = sum(len(c.token_ids) for g in rollout.completions for c in g)
    assert update.optimizer_steps == 4
    assert [rows for _, rows, _ in ratios] == [6, 6, 6, 6]
    assert ratios[0][2] + ratios[1][2] == tokens == ratios[2][2] + ratios[3][2]
    assert ratios[0][0] < 1e-5
    assert all(gap > 1e-3 for gap, _, _ in ratios[1:])
    assert {"old", "forward_backward", "optimizer"} <= set(update.seconds)
    assert update.metrics["ratio"] != 1.0


def test_minibatches_follow_from_seed_and_step(make_recipe, open_backend, take):
    def seen(seed: int, step: int) -> list[list[float]]:
        backend = open_backend(make_recipe(optim={"minibatches": 3}, train={"seed": seed}))
        rollout = take(backend)
        parts: list[list[float]] = []

        def watch(inputs: LossInputs) -> LossOutputs:
            parts.append([round(value, 4) for value in inputs.advantages_N.tolist()])
            return token_loss(inputs)

        backend.update(watch, rollout, advantages_of(rollout), everything(rollout), step)
        return parts

    first = seen(1, 1)
    assert first == seen(1, 1)
    assert first != seen(2, 1)
    assert first != seen(1, 2)
    assert sum(map(len, first)) == 12


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_the_reference_is_the_model_as_it_was(make_recipe, open_backend, take, lora):
    recipe = make_recipe(model={"lora": lora, "dtype": "float32"})
    backend = open_backend(recipe, needs_reference=True)
    untouched = open_backend(recipe)
    for step in (1, 2):
        rollout = take(backend, step=step)
        caught: list[LossInputs] = []

        def watch(inputs: LossInputs, caught: list[LossInputs] = caught) -> LossOutputs:
            caught.append(inputs)
            return token_loss(inputs)

        backend.update(watch, rollout, advantages_of(rollout), everything(rollout), step)
        base: list[LossInputs] = []

        def catch(inputs: LossInputs, base: list[LossInputs] = base) -> LossOutputs:
            base.append(inputs)
            return LossOutputs(loss=inputs.logprobs_NT.sum() * 0.0)

        untouched.update(catch, rollout, advantages_of(rollout), everything(rollout), step)
        assert caught[0].ref_logprobs_NT is not None
        assert torch.allclose(caught[0].ref_logprobs_NT, base[0].logprobs_NT.detach(), atol=1e-5)
    gap = (caught[0].logprobs_NT - caught[0].ref_logprobs_NT).abs().max()
    assert gap > 1e-2


def test_sampler_and_trainer_agree(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend, temperature=0.8)
    gaps = []

    def watch(inputs: LossInputs) -> LossOutputs:
        assert inputs.sampler_logprobs_NT is not None
        gaps.append((inputs.sampler_logprobs_NT - inputs.logprobs_NT).abs().max().item())
        assert torch.equal(inputs.old_logprobs_NT, inputs.logprobs_NT.detach())
        return token_loss(inputs)

    update = backend.update(watch, rollout, advantages_of(rollout), everything(rollout), 1)
    assert max(gaps) < 2e-5
    assert update.metrics["entropy"] > 0
    assert update.metrics["grad_norm"] > 0
    assert update.metrics["lr"] == 1e-2


def test_inputs_say_what_was_cut_short(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    seen = []

    def watch(inputs: LossInputs) -> LossOutputs:
        seen.append(inputs)
        return token_loss(inputs)

    backend.update(watch, rollout, advantages_of(rollout), everything(rollout), 1)
    lengths = [len(rollout.completions[p][g].token_ids) for p, g in rollout.rows()]
    cut = [rollout.completions[p][g].finish == "length" for p, g in rollout.rows()]
    assert torch.cat([i.mask_NT.sum(1) for i in seen]).tolist() == lengths
    assert torch.cat([i.truncated_N for i in seen]).tolist() == cut
    assert {i.totals.max_tokens for i in seen} == {10}


def test_adapter_dropout_is_seeded(make_recipe, open_backend, take):
    model = {"lora": {"rank": 4, "alpha": 8.0, "dropout": 0.5}, "dtype": "float32"}
    first, second = (open_backend(make_recipe(model=model)) for _ in range(2))
    still = open_backend(make_recipe())
    rollout = take(still)
    torch.manual_seed(1)
    a = gradients(first, rollout)
    torch.manual_seed(2)
    b = gradients(second, rollout)
    c = gradients(still, rollout)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.allclose(a[name], c[name]) for name in a)

"""The update: its gradient against a plain reference, for any cut into micro-batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from grpokit.api import (
    Advantages,
    CheckpointError,
    Interrupted,
    LossInputs,
    LossOutputs,
    NonFiniteError,
    OutOfMemoryError,
    Rollout,
    Sampling,
    Selection,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.update import MAX_SKIPPED

LOW, HIGH = 0.8, 1.2


def token_loss(inputs: LossInputs) -> LossOutputs:
    """Clipped surrogate, summed over tokens and divided by the tokens of the step."""
    ratio_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).exp()
    advantage_N1 = (inputs.advantages_N * inputs.weights_N)[:, None]
    objective_NT = torch.minimum(ratio_NT * advantage_N1, ratio_NT.clamp(LOW, HIGH) * advantage_N1)
    loss = -(objective_NT * inputs.mask_NT).sum() / inputs.totals.tokens
    if inputs.ref_logprobs_NT is not None:
        gap_NT = inputs.ref_logprobs_NT - inputs.logprobs_NT
        k3_NT = (gap_NT.exp() - gap_NT - 1) * inputs.mask_NT
        loss = loss + 0.1 * k3_NT.sum() / inputs.totals.tokens
    count = inputs.mask_NT.sum()
    sums = {"ratio": ((ratio_NT * inputs.mask_NT).sum().detach(), count)}
    if inputs.entropy_NT is not None:
        sums["entropy"] = ((inputs.entropy_NT * inputs.mask_NT).sum().detach(), count)
    return LossOutputs(loss=loss, sums=sums)


def advantages_of(rollout: Rollout) -> Advantages:
    shape = (len(rollout.prompts), rollout.group)
    values = torch.linspace(-1.0, 1.5, shape[0] * shape[1]).view(shape)
    values[0, 0] = 0.0
    return Advantages(
        advantages_PG=values,
        valid_PG=torch.ones(shape, dtype=torch.bool),
        dead_P=torch.zeros(shape[0], dtype=torch.bool),
    )


def everything(rollout: Rollout, weight: float = 1.0) -> Selection:
    rows = tuple(rollout.rows())
    return Selection(rows=rows, weights=(weight,) * len(rows), denominator=len(rows))


@pytest.fixture
def take(make_prompts) -> Callable[..., Rollout]:
    """A rollout with completions of different lengths."""

    def make(backend: HfBackend, *, step: int = 1, temperature: float = 1.0) -> Rollout:
        sampling = Sampling(group=4, max_tokens=10, seed=7, step=step, temperature=temperature)
        rollout = backend.generate(make_prompts(), sampling)
        groups = []
        for p, group in enumerate(rollout.completions):
            cut = []
            for g, completion in enumerate(group):
                keep = max(1, len(completion.token_ids) - (2 * g + p))
                cut.append(
                    replace(
                        completion,
                        token_ids=completion.token_ids[:keep],
                        logprobs=(completion.logprobs or ())[:keep],
                    )
                )
            groups.append(tuple(cut))
        return replace(rollout, completions=tuple(groups))

    return make


def gradients(backend: HfBackend, rollout: Rollout, loss: Any = token_loss) -> dict[str, Any]:
    """The gradient of one optimiser step, taken from the optimiser as it is applied."""
    caught: dict[str, torch.Tensor] = {}
    trainer = backend.trainer

    def catch(*_: Any) -> None:
        for name, weight in backend.policy.weights.items():
            if weight.grad is not None:
                caught.setdefault(name, weight.grad.clone())

    handle = trainer.optimizer.register_step_pre_hook(catch)
    backend.update(loss, rollout, advantages_of(rollout), everything(rollout), 1)
    handle.remove()
    return caught


def plain_gradients(backend: HfBackend, rollout: Rollout, temperature: float) -> dict[str, Any]:
    """The same by hand: one row at a time, full logits, policy gradient at ratio 1."""
    model = backend.policy.model
    model.zero_grad()
    tokens = sum(len(rollout.completions[p][g].token_ids) for p, g in rollout.rows())
    table = advantages_of(rollout).advantages_PG
    total = torch.zeros(())
    for p, g in rollout.rows():
        prompt, ids = rollout.prompt_ids[p], rollout.completions[p][g].token_ids
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        logprobs = torch.log_softmax(logits.float() / temperature, -1)
        chosen = logprobs.gather(1, torch.tensor(ids)[:, None])
        total = total - table[p, g] * (chosen - chosen.detach()).exp().sum() / tokens
    total.backward()
    found = {
        name: weight.grad.clone()
        for name, weight in backend.policy.weights.items()
        if weight.grad is not None
    }
    model.zero_grad()
    return found


def assert_close(ours: dict[str, Any], theirs: dict[str, Any], rtol: float = 1e-5) -> None:
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        scale = value.abs().max().item()
        assert scale > 0 or name.endswith("lora_A.default.weight")
        assert (ours[name] - value).abs().max().item() <= rtol * max(scale, 1e-3), name


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
    assert parts.policy.forward().shared != checkpointing
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


def test_a_gradient_that_is_not_finite_is_skipped_and_at_last_stops(
    make_recipe, open_backend, take
):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    before = {name: w.detach().clone() for name, w in backend.policy.weights.items()}

    def broken(inputs: LossInputs) -> LossOutputs:
        return LossOutputs(loss=token_loss(inputs).loss * float("nan"))

    table, rows = advantages_of(rollout), everything(rollout)
    for step in range(1, MAX_SKIPPED + 1):
        update = backend.update(broken, rollout, table, rows, step)
        assert update.optimizer_steps == 0
        assert update.metrics["skipped_steps"] == 1
    assert all(torch.equal(w, before[n]) for n, w in backend.policy.weights.items())
    with pytest.raises(NonFiniteError, match="in a row"):
        backend.update(broken, rollout, table, rows, MAX_SKIPPED + 1)


def test_a_step_that_stopped_the_run_counts_once(make_recipe, open_backend, take, tmp_path):
    """It is taken again when the run is resumed, from the same state."""
    backend = open_backend(make_recipe(optim={"iterations": 2}))
    rollout = take(backend)
    backend.trainer.bad_streak = MAX_SKIPPED - 1

    def broken(inputs: LossInputs) -> LossOutputs:
        return LossOutputs(loss=token_loss(inputs).loss * float("nan"))

    with pytest.raises(NonFiniteError):
        backend.update(broken, rollout, advantages_of(rollout), everything(rollout), 1)
    assert backend.trainer.bad_streak == MAX_SKIPPED - 1
    backend.save_state(tmp_path)
    assert json.loads((tmp_path / "trainer.json").read_text())["bad_streak"] == MAX_SKIPPED - 1


def test_weights_between_two_steps_are_never_saved(make_recipe, open_backend, take, tmp_path):
    backend = open_backend(make_recipe(optim={"iterations": 2}))
    rollout = take(backend)
    calls = []

    def fails_late(inputs: LossInputs) -> LossOutputs:
        calls.append(1)
        if len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return token_loss(inputs)

    with pytest.raises(OutOfMemoryError):
        backend.update(fails_late, rollout, advantages_of(rollout), everything(rollout), 1)
    with pytest.raises(CheckpointError, match="between two steps"):
        backend.save_state(tmp_path)


def test_a_good_step_ends_the_streak(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    backend.trainer.bad_streak = MAX_SKIPPED
    backend.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 1)
    assert backend.trainer.bad_streak == 0


def test_memory_that_runs_out_halves_the_micro_batch(make_recipe, open_backend, take):
    """The error itself cannot be had on a CPU; it is raised by the loss as CUDA would raise it."""
    calm, tight = open_backend(make_recipe()), open_backend(make_recipe())
    rollout = take(calm)
    sizes = []

    def hungry(inputs: LossInputs) -> LossOutputs:
        sizes.append(len(inputs.weights_N))
        if len(inputs.weights_N) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return token_loss(inputs)

    calm.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 1)
    tight.update(hungry, rollout, advantages_of(rollout), everything(rollout), 1)
    assert sizes == [12, 6, 3, 3, 3, 3]
    for name, weight in calm.policy.weights.items():
        assert torch.allclose(weight, tight.policy.weights[name], atol=1e-5)

    def starving(inputs: LossInputs) -> LossOutputs:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemoryError, match="gradient_checkpointing"):
        tight.update(starving, rollout, advantages_of(rollout), everything(rollout), 2)


def test_memory_that_runs_out_before_the_first_step_halves_too(make_recipe, open_backend, take):
    backend = open_backend(make_recipe(optim={"iterations": 2}), needs_reference=True)
    rollout = take(backend)
    trainer, sizes = backend.trainer, []
    plain = trainer.logprobs_of

    def hungry(parts, job, forward):
        sizes.append(max(len(part) for part in parts))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(parts, job, forward)

    trainer.logprobs_of = hungry
    args = (token_loss, rollout, advantages_of(rollout), everything(rollout))
    assert backend.update(*args, 1).optimizer_steps == 2
    assert sizes == [12, 6, 3, 3]


def test_an_interrupt_leaves_the_state_as_it_was(make_recipe, open_backend, take):
    recipe = make_recipe(optim={"micro_batch": 2, "iterations": 2})
    stopped, whole = open_backend(recipe), open_backend(recipe)
    rollout = take(stopped)
    args = (token_loss, rollout, advantages_of(rollout), everything(rollout))
    for backend in (stopped, whole):
        backend.update(*args, 1)
    for moment in (1, 3, 8):
        polls = []

        def stop(polls: list[int] = polls, moment: int = moment) -> None:
            polls.append(1)
            if len(polls) == moment:
                raise Interrupted(2)

        with pytest.raises(Interrupted):
            stopped.update(*args, 2, stop)
    for backend in (stopped, whole):
        backend.update(*args, 2)
    for name, weight in whole.policy.weights.items():
        assert torch.equal(weight, stopped.policy.weights[name])


def test_polls_end_with_the_first_optimiser_step(make_recipe, open_backend, take):
    backend = open_backend(make_recipe(optim={"micro_batch": 4, "iterations": 3}))
    rollout = take(backend)
    polls: list[int] = []
    backend.update(
        token_loss,
        rollout,
        advantages_of(rollout),
        everything(rollout),
        1,
        lambda: polls.append(1),
    )
    assert len(polls) == 6  # three for the old log-probs, three for the first gradient


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

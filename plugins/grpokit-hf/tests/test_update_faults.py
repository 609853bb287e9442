"""The update when something fails: gradients, memory, interrupts. Nothing is lost, nothing half done."""

from __future__ import annotations

import json

import pytest
import torch

from grpokit.api import (
    CheckpointError,
    Interrupted,
    LossInputs,
    LossOutputs,
    NonFiniteError,
    OutOfMemoryError,
)
from grpokit_hf.update import MAX_SKIPPED
from updates import advantages_of, everything, token_loss


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

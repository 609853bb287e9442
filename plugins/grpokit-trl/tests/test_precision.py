"""Types of numbers: trained weights are float32, and one run's choice is not the next one's."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch

import parity
from grpokit.api import Advantages, LossInputs, LossOutputs, Resets, Sampling, Selection, Task


def policy_gradient(inputs: LossInputs) -> LossOutputs:
    weighted_NT = inputs.logprobs_NT * inputs.advantages_N[:, None] * inputs.mask_NT
    return LossOutputs(loss=-weighted_NT.sum() / inputs.totals.tokens)


def one_step(backend, prompts) -> dict[str, float]:
    rollout = backend.generate(prompts, Sampling(group=4, max_tokens=10, seed=7, step=1))
    rows = tuple(rollout.rows())
    task = Task(
        step=1,
        loss=policy_gradient,
        rollout=rollout,
        advantages=Advantages(
            advantages_PG=torch.linspace(-1, 1, 12).view(3, 4),
            valid_PG=torch.ones(3, 4, dtype=torch.bool),
            dead_P=torch.zeros(3, dtype=torch.bool),
        ),
        selection=Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows)),
        resets=Resets(),
    )
    feed = parity.OneStep(task)
    backend.run(feed)
    return dict(feed.update.metrics)


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_trains_float32_weights(
    make_recipe, open_backend, make_prompts, lora, checkpointing
):
    model = {"dtype": "bfloat16", "lora": lora, "gradient_checkpointing": checkpointing}
    backend = open_backend(make_recipe(model={**model, "id": make_recipe().model.id}))
    before = {name: w.detach().clone() for name, w in backend.loaded.weights.items()}
    assert {w.dtype for w in before.values()} == {torch.float32}
    assert backend.trainer.accelerator.mixed_precision == ("no" if lora else "bf16")
    assert backend.identity["dtype"] == "bfloat16"
    found = one_step(backend, make_prompts())
    assert found["grad_norm"] > 0
    assert any(not torch.equal(w, before[n]) for n, w in backend.loaded.weights.items())


def test_the_next_run_computes_in_its_own_type(make_recipe, open_backend, make_prompts):
    section = {"id": make_recipe().model.id, "lora": None}
    first = open_backend(make_recipe(model={**section, "dtype": "bfloat16"}))
    first.close()
    second = open_backend(make_recipe(model={**section, "dtype": "float32"}))
    assert second.trainer.accelerator.mixed_precision == "no"
    assert second.identity["dtype"] == "float32"


def test_a_closed_backend_holds_no_model_and_leaves_no_file(
    make_recipe, open_backend, make_prompts
):
    backend = open_backend(make_recipe(), needs_reference=True)
    one_step(backend, make_prompts())
    weight = weakref.ref(next(backend.loaded.base.parameters()))
    assert weight() is not None
    scratch = Path(backend._scratch.name)
    assert list(scratch.iterdir()) == []  # no checkpoint, log or card of TRL's
    backend.close()
    assert weight() is None
    assert not scratch.exists()

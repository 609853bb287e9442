"""Real vLLM draws the next step with the old weights while the model trains.

The tests run in their order and leave the engine working, with its leave to die once.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from grpokit.algorithms import Composition, clip_ratio, group_centred, sequence_mean
from grpokit.algorithms.correction import truncated_weight
from grpokit.engine.ahead import Ahead
from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.flow import Rollout, Sampling, Scores
from grpokit.spec.recipe import PromptSection
from grpokit_hf.backend import HfBackend
from grpokit_hf.nn.batch import Row, to_batch
from grpokit_hf.reset import copy_of, put, swapped
from vllm_runs import engine_of, shift

EXACT = 1e-4
STEPS = 3
WARM = Sampling(group=4, max_tokens=24, seed=7, step=1)


class Rows:
    columns = ("question",)
    fingerprint = "x"
    size = 6

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"question": f"{index}?"}


class Lengths:
    """A scorer without processes: the share of even tokens."""

    measures = False

    def score(self, rollout: Rollout, should_stop: object = None, facts: object = None) -> Scores:
        del should_stop, facts
        total = tuple(
            tuple(sum(t % 2 for t in one.token_ids) / len(one.token_ids) for one in group)
            for group in rollout.completions
        )
        return Scores(rewards={"r": total}, components={}, total=total)


def loop_of(backend: HfBackend) -> Loop:
    rows: Any = Rows()
    scorer: Any = Lengths()
    algorithm: Any = Composition(
        advantage=group_centred,
        clip=clip_ratio,
        aggregation=sequence_mean,
        correction=truncated_weight,
    )
    return Loop(
        backend=backend,
        algorithm=algorithm,
        dataset=rows,
        order=RowOrder(rows, seed=1),
        scorer=scorer,
        budget=ErrorBudget(0.5),
        prompt=PromptSection(),
        sampling=WARM,
        observer=Observer(),
        poll=lambda: None,
        prompts=2,
        ahead=Ahead(last=STEPS),
    )


def said(rollout: Rollout) -> list[float]:
    return [v for group in rollout.completions for one in group for v in one.logprobs or ()]


def computed(backend: HfBackend, rollout: Rollout) -> list[float]:
    """What the trainer's present weights say of the completions."""
    rows = [
        Row(
            index=0,
            prompt=p,
            prompt_ids=rollout.prompt_ids[p],
            tokens=rollout.completions[p][g].token_ids,
            advantage=0.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=None,
        )
        for p, g in rollout.rows()
    ]
    policy = backend.policy
    with torch.no_grad():
        batch = to_batch(rows, policy.tokenizer.pad_id, policy.device)
        found: list[float] = policy.forward()(batch, 1.0).logprobs_M.tolist()
    return found


def test_a_round_drawn_ahead_is_of_the_weights_before_the_update(adapter_backend) -> None:
    backend: HfBackend = adapter_backend
    loop = loop_of(backend)
    before = copy_of(backend.policy.weights)
    for step in range(1, STEPS + 1):
        pending = loop.begin(step)
        rollout = pending.batch.rollout
        assert pending.batch.stale == (0 if step == 1 else 2)
        if step > 1:
            assert said(rollout) != pytest.approx(computed(backend, rollout), abs=10 * EXACT)
        with swapped(backend.policy.weights, before):
            assert said(rollout) == pytest.approx(computed(backend, rollout), abs=EXACT)
        before = copy_of(backend.policy.weights)
        record = loop.finish(pending, loop.train(pending.task)).record
        assert record.metrics["staleness"] == float(step > 1)
        assert record.metrics["optimizer_steps"] == 1
    assert loop.ahead.given is None
    rollout = backend.generate(rollout.prompts, WARM)
    assert said(rollout) == pytest.approx(computed(backend, rollout), abs=EXACT)


def test_it_draws_what_generate_would_have_drawn(adapter_backend, questions) -> None:
    backend: HfBackend = adapter_backend
    shift(backend, 1.0, seed=1)
    draw = backend.ahead(questions, WARM)
    at_hand = copy_of(backend.policy.weights)
    shift(backend, 1.0, seed=2)
    found: list[Rollout] = []
    thread = threading.Thread(target=lambda: found.append(draw(None)))
    thread.start()
    thread.join()
    assert said(found[0]) != pytest.approx(computed(backend, found[0]), abs=10 * EXACT)
    put(backend.policy.weights, at_hand)
    shift(backend, 0.0, seed=2)  # they have changed back, as the backend must hear
    assert backend.generate(questions, WARM).completions == found[0].completions


class Enough(Exception):
    """Nobody wants the round any more."""


def test_a_drawing_that_is_broken_off_leaves_the_engine_usable(adapter_backend, questions) -> None:
    backend: HfBackend = adapter_backend

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        backend.ahead(questions, replace(WARM, max_tokens=150, temperature=2.0))(stop)
    rollout = backend.generate(questions, WARM)
    assert said(rollout) == pytest.approx(computed(backend, rollout), abs=EXACT)


def test_an_engine_that_dies_meanwhile_gets_the_old_weights_again(
    adapter_backend, questions
) -> None:
    """And never those that an update has half changed."""
    backend: HfBackend = adapter_backend
    shift(backend, 1.0, seed=3)
    wanted = said(backend.generate(questions, WARM))
    draw = backend.ahead(questions, WARM)
    shift(backend, 1.0, seed=4)
    engine = engine_of(backend)
    first = engine.process.pid
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(first)
            os.kill(first, signal.SIGKILL)

    os.kill(first, signal.SIGSTOP)  # so that it cannot be done before it is killed
    assert said(draw(kill)) == pytest.approx(wanted, abs=EXACT)
    assert engine.process.pid != first
    rollout = backend.generate(questions, WARM)  # the next ones are new
    assert said(rollout) == pytest.approx(computed(backend, rollout), abs=EXACT)
    assert backend._rollouts is not None
    backend._rollouts.deaths = 0

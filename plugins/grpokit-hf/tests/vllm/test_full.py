"""Real vLLM under the backend where all weights train: they reach it through a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grpokit.api import GrpokitError, Sampling
from grpokit_hf.backend import HfBackend
from vllm_runs import opened, vllm_recipe

GREEDY = Sampling(group=1, max_tokens=16, temperature=0.0, seed=7, step=1)


@pytest.fixture(scope="module")
def full_backend(wide_model: Path) -> Iterator[HfBackend]:
    """An engine that gives raw log-probs: the recipe cuts at temperature 1."""
    recipe = vllm_recipe(
        wide_model, lora=False, rollout={"prompts": 3, "group": 4, "max_tokens": 10, "top_k": 20}
    )
    backend = opened(recipe)
    yield backend
    backend.close()


def move(backend: HfBackend, factor: float) -> None:
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "down_proj" in name or "v_proj" in name:
                weight.mul_(factor)
    backend._changed()


def both(backend: HfBackend, prompts, sampling: Sampling):
    """Rollouts of vLLM and of the trained model itself."""
    theirs = backend.generate(prompts, sampling)
    rollouts, backend._rollouts = backend._rollouts, None
    try:
        return theirs, backend.generate(prompts, sampling)
    finally:
        backend._rollouts = rollouts


def test_reloaded_weights_are_seen(full_backend, questions) -> None:
    theirs, ours = both(full_backend, questions, GREEDY)
    assert theirs.completions[0][0].token_ids == ours.completions[0][0].token_ids
    move(full_backend, 1.5)
    after, wanted = both(full_backend, questions, GREEDY)
    for mine, other, before in zip(
        after.completions, wanted.completions, theirs.completions, strict=True
    ):
        assert mine[0].token_ids == other[0].token_ids
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)
        assert mine[0].logprobs != pytest.approx(before[0].logprobs, abs=1e-2)


def test_a_cut_leaves_the_logprobs_that_training_computes(full_backend, questions) -> None:
    """Those before the cut: with one token left of the distribution they are not all zero."""
    one = replace(GREEDY, temperature=1.0, top_k=1)
    theirs, ours = both(full_backend, questions, one)
    for mine, other in zip(theirs.completions, ours.completions, strict=True):
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)
        assert min(mine[0].logprobs) < -0.1
    warm = full_backend.generate(questions, replace(one, temperature=0.5))
    assert warm.completions[0][0].logprobs is None


def test_the_canary_fires_where_a_reload_does_nothing(full_backend, questions, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(full_backend._rollouts.sampler, "load", lambda weights: None)
        move(full_backend, 0.5)
        with pytest.raises(GrpokitError, match="did not reach vLLM"):
            full_backend.generate(questions, GREEDY)
    full_backend._changed()
    full_backend.generate(questions, GREEDY)

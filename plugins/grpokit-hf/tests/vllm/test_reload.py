"""Real vLLM that gets whole weights through a folder, and an evaluation with it.

The policy has an adapter, which is written into the weights; all weights train in test_learns.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpokit.api import GrpokitError, NonFiniteError, Rollout, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.vllm.host import Host
from grpokit_hf.vllm.sampler import Weights
from vllm_runs import vllm_recipe

GREEDY = Sampling(group=1, max_tokens=16, temperature=0.0, seed=7, step=1)


def move(backend: HfBackend, size: float) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in backend.policy.model.named_parameters():
            if "lora_B" in name:
                weight.add_(torch.randn(weight.shape, generator=generator) * size)
    backend._changed()


@pytest.fixture(scope="module")
def checkpoint(wide_model: Path, tmp_path_factory) -> Path:
    """An adapter that changes what the model says."""
    folder = tmp_path_factory.mktemp("checkpoint")
    recipe = vllm_recipe(wide_model)
    config = HfConfig.model_validate({**recipe.backend.with_, "rollouts": "transformers"})
    backend = HfBackend(config)
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    move(backend, 0.3)
    backend.save_policy(folder)
    backend.close()
    return folder


@pytest.fixture(scope="module")
def reloading(wide_model: Path, checkpoint: Path) -> Iterator[HfBackend]:
    """Opened for an evaluation. The recipe cuts at temperature 1: the engine gives raw log-probs."""
    rollout = {"prompts": 3, "group": 4, "max_tokens": 10, "top_k": 20}
    recipe = vllm_recipe(wide_model, vllm={"sync": "reload"}, rollout=rollout)
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open_checkpoint(recipe, checkpoint)
    yield backend
    backend.close()


def both(backend: HfBackend, prompts, sampling: Sampling) -> tuple[Rollout, Rollout]:
    """Rollouts of vLLM and of the model itself."""
    theirs = backend.generate(prompts, sampling)
    rollouts, backend._rollouts = backend._rollouts, None
    try:
        return theirs, backend.generate(prompts, sampling)
    finally:
        backend._rollouts = rollouts


def firsts(rollout: Rollout) -> list[tuple[int, ...]]:
    return [group[0].token_ids for group in rollout.completions]


def test_an_evaluation_measures_the_checkpoint(reloading, questions) -> None:
    theirs, ours = both(reloading, questions, GREEDY)
    assert firsts(theirs) == firsts(ours)
    assert reloading.identity["rollouts"] == {
        "engine": "vllm",
        "version": reloading._rollouts.sampler.version,
    }


def test_reloaded_weights_are_seen(reloading, questions) -> None:
    before = reloading.generate(questions, GREEDY)
    move(reloading, 0.3)
    after, wanted = both(reloading, questions, GREEDY)
    assert firsts(after) == firsts(wanted)
    assert firsts(after) != firsts(before)
    for mine, other in zip(after.completions, wanted.completions, strict=True):
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)


def test_a_cut_leaves_the_logprobs_that_training_computes(reloading, questions) -> None:
    """Those before the cut: with one token left of the distribution they are not all zero."""
    one = replace(GREEDY, temperature=1.0, top_k=1)
    theirs, ours = both(reloading, questions, one)
    for mine, other in zip(theirs.completions, ours.completions, strict=True):
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)
        assert min(mine[0].logprobs) < -0.1
    warm = reloading.generate(questions, replace(one, temperature=0.5))
    assert warm.completions[0][0].logprobs is None


def test_the_canary_fires_where_a_reload_does_nothing(reloading, questions, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reloading._rollouts.sampler, "load", lambda weights: None)
        move(reloading, -0.5)
        with pytest.raises(GrpokitError, match="did not reach vLLM"):
            reloading.generate(questions, GREEDY)
    after, wanted = both(reloading, questions, GREEDY)
    assert firsts(after) == firsts(wanted)


def test_a_cache_that_is_not_emptied_ends_the_engine(reloading, questions, monkeypatch) -> None:
    """What vLLM says to it is read: blocks of the old weights would show in no log-prob of a prompt."""

    class Full:
        def reset_prefix_cache(self) -> bool:
            return False

    host = object.__new__(Host)
    host.llm = Full()
    with pytest.raises(RuntimeError, match="prefix cache"):
        host.forget_prefixes()


def test_numbers_that_are_none_do_not_kill_the_engine(reloading, questions, tmp_path: Path) -> None:
    """They are the model's fault: starting vLLM again would not help. The engine's cache is spoilt after
    this, so it is the last test."""
    rollouts = reloading._rollouts
    pid = rollouts.sampler.process.pid
    shutil.copytree(rollouts.weights.model, tmp_path / "nan")
    path = tmp_path / "nan/model.safetensors"
    broken = {name: weight * float("nan") for name, weight in load_file(path).items()}
    save_file(broken, path, metadata={"format": "pt"})
    rollouts.sampler.load(Weights(version=900, model=tmp_path / "nan"))
    with pytest.raises(NonFiniteError, match="not numbers"):
        reloading.generate(questions, GREEDY)
    assert rollouts.sampler.process.pid == pid
    assert rollouts.sampler.process.poll() is None
    assert rollouts.deaths == 0

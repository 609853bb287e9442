"""Real steps of a tiny model under a composition: generate, score, advantages, select, update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grpokit.algorithms import Composition
from grpokit.spec.flow import Prompt, Rollout, Sampling, Scores, Update
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend

PROMPTS, GROUP, LENGTH = 4, 8, 8


@dataclass
class Step:
    """One step: mean reward before it, what the update said, and the backend after it."""

    reward: float
    update: Update
    backend: HfBackend


def recipe(folder: Path) -> Recipe:
    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(folder), "dtype": "float32", "lora": None},
            "dataset": {"use": "inline"},
            "rewards": [{"use": "exact"}],
            "rollout": {"prompts": PROMPTS, "group": GROUP, "max_tokens": LENGTH},
            "optim": {"lr": 1e-2, "warmup": 0.0, "schedule": "constant", "minibatches": 2},
            "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
            "train": {"steps": 100, "seed": 3},
        }
    )


def scored(rollout: Rollout) -> Scores:
    """The share of digits in a completion of full length; a short one earns less."""
    table = tuple(
        tuple(sum(map(str.isdigit, completion.text)) / LENGTH for completion in group)
        for group in rollout.completions
    )
    return Scores(rewards={"digits": table}, components={}, total=table)


def steps(folder: Path, algorithm: Composition, count: int) -> Iterator[Step]:
    """``count`` steps with two optimiser steps each."""
    prompts = [
        Prompt(id=f"p{i}", index=i, row={}, messages=({"role": "user", "content": f"{i}?"},))
        for i in range(PROMPTS)
    ]
    backend = HfBackend()
    backend.open(recipe(folder), needs_reference=algorithm.needs_reference, needs_entropy=False)
    try:
        for step in range(1, count + 1):
            sampling = Sampling(group=GROUP, max_tokens=LENGTH, seed=3, step=step)
            rollout = backend.generate(prompts, sampling)
            scores = scored(rollout)
            advantages = algorithm.advantages(rollout, scores)
            selection = algorithm.select(rollout, scores, advantages)
            update = backend.update(algorithm.loss, rollout, advantages, selection, step)
            reward = sum(map(sum, scores.total)) / (PROMPTS * GROUP)
            yield Step(reward, update, backend)
    finally:
        backend.close()

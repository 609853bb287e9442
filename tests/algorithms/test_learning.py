"""Every named algorithm learns: a tiny model comes to write digits, in seconds.

The same run with a wrong sign, or trained on no token, does not learn; so the test can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from grpokit.algorithms import Composition
from grpokit.algorithms.axes import Clipped
from grpokit.builtins.algorithms import SPECS
from grpokit.registry.resolve import resolve
from grpokit.spec.flow import Prompt, Rollout, Sampling, Scores
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend

NAMED = {spec.name: spec for spec in SPECS if not spec.axis}
STEPS, PROMPTS, GROUP, LENGTH = 16, 4, 8, 8


def composition(name: str) -> Composition:
    spec = NAMED[name]
    built = resolve(spec.target)(resolve(spec.config)())
    assert isinstance(built, Composition)
    return built


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
            "train": {"steps": STEPS, "seed": 3},
        }
    )


def scored(rollout: Rollout) -> Scores:
    """The share of digits in a completion of full length; a short one earns less."""
    table = tuple(
        tuple(sum(map(str.isdigit, completion.text)) / LENGTH for completion in group)
        for group in rollout.completions
    )
    return Scores(rewards={"digits": table}, components={}, total=table)


def learned(folder: Path, algorithm: Composition) -> tuple[float, float]:
    """Mean reward of the first and of the last two steps."""
    prompts = [
        Prompt(id=f"p{i}", index=i, row={}, messages=({"role": "user", "content": f"{i}?"},))
        for i in range(PROMPTS)
    ]
    backend, means = HfBackend(), []
    backend.open(recipe(folder), needs_reference=algorithm.needs_reference, needs_entropy=False)
    try:
        for step in range(1, STEPS + 1):
            sampling = Sampling(group=GROUP, max_tokens=LENGTH, seed=3, step=step)
            rollout = backend.generate(prompts, sampling)
            scores = scored(rollout)
            means.append(sum(map(sum, scores.total)) / (PROMPTS * GROUP))
            advantages = algorithm.advantages(scores)
            selection = algorithm.select(rollout, scores, advantages)
            backend.update(algorithm.loss, rollout, advantages, selection, step)
    finally:
        backend.close()
    return sum(means[:2]) / 2, sum(means[-2:]) / 2


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NAMED)
def test_it_learns(tiny_model_folder: Path, name: str) -> None:
    first, last = learned(tiny_model_folder, composition(name))
    assert first < 0.3
    assert last > 0.9


def upside_down(algorithm: Composition) -> Composition:
    """The objective with the wrong sign."""
    clip = algorithm.clip

    def wrong(*args: object) -> Clipped:
        right = clip(*args)  # type: ignore[arg-type]
        return Clipped(-right.objective_NT, right.shares)

    return replace(algorithm, clip=wrong)


def masked_out(algorithm: Composition) -> Composition:
    """No token but the last counts."""

    def last_only(mask_NT: torch.Tensor, _truncated_N: torch.Tensor) -> torch.Tensor:
        after_NT = mask_NT.flip(-1).cumsum(-1).flip(-1)
        return mask_NT * (after_NT == 1)

    return replace(algorithm, mask=last_only)


@pytest.mark.parametrize("spoil", [upside_down, masked_out])
@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_a_wrong_sign_or_mask_is_noticed(
    tiny_model_folder: Path, name: str, spoil: Callable[[Composition], Composition]
) -> None:
    _, last = learned(tiny_model_folder, spoil(composition(name)))
    assert last < 0.6

"""A step made of nothing but its rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from grpokit.api import (
    Advantages,
    Completion,
    LossInputs,
    LossTotals,
    Prompt,
    Rollout,
    Sampling,
    Scores,
    Selection,
)
from grpokit_cppo.algorithm import build
from grpokit_cppo.config import CppoConfig

Rewards = Sequence[Sequence[float | None]]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rollout_of() -> Callable[..., Rollout]:
    """A rollout of the shape of ``rewards``."""

    def make(rewards: Rewards, *, seed: int = 7, step: int = 1, finish: Any = "stop") -> Rollout:
        group = len(rewards[0])
        return Rollout(
            prompts=tuple(
                Prompt(id=f"q{p}", index=p, row={}, messages=()) for p in range(len(rewards))
            ),
            prompt_ids=((1,),) * len(rewards),
            completions=tuple(
                tuple(Completion(token_ids=(2, 3), text="", finish=finish) for _ in row)
                for row in rewards
            ),
            sampling=Sampling(group=group, max_tokens=4, seed=seed, step=step),
        )

    return make


@pytest.fixture(scope="session")
def scores_of() -> Callable[[Rewards], Scores]:
    return lambda rewards: Scores(rewards={"r": rewards}, components={}, total=rewards)


@pytest.fixture(scope="session")
def advantages_of(rollout_of, scores_of) -> Callable[..., Advantages]:
    """The advantages that the algorithm makes of ``rewards``."""
    return lambda rewards, **settings: build(CppoConfig(**settings)).advantages(
        rollout_of(rewards), scores_of(rewards)
    )


@pytest.fixture(scope="session")
def select(rollout_of, scores_of) -> Callable[..., Selection]:
    """What the whole algorithm selects: ``select(rewards, rate=0.5)``."""

    def make(rewards: Rewards, *, seed: int = 7, step: int = 1, **settings: Any) -> Selection:
        algorithm = build(CppoConfig(**settings))
        scores = scores_of(rewards)
        rollout = rollout_of(rewards, seed=seed, step=step)
        return algorithm.select(rollout, scores, algorithm.advantages(rollout, scores))

    return make


@pytest.fixture(scope="session")
def kept(select) -> Callable[..., list[int]]:
    """Positions of the rows that stay, counted over the whole step."""

    def make(rewards: Rewards, **settings: Any) -> list[int]:
        return [p * len(rewards[0]) + g for p, g in select(rewards, **settings).rows]

    return make


@pytest.fixture(scope="session")
def inputs_of() -> Callable[..., LossInputs]:
    """Loss inputs in float64, right-padded."""

    def make(new: Any, old: Any, ref: Any, mask: Any, advantages: Any, rows: int) -> LossInputs:
        new_NT, old_NT, ref_NT, mask_NT = (
            torch.as_tensor(each, dtype=torch.float64) for each in (new, old, ref, mask)
        )
        count = len(mask_NT)
        return LossInputs(
            logprobs_NT=new_NT,
            old_logprobs_NT=old_NT,
            ref_logprobs_NT=ref_NT,
            sampler_logprobs_NT=None,
            entropy_NT=None,
            advantages_N=torch.as_tensor(advantages, dtype=torch.float64),
            weights_N=torch.ones(count, dtype=torch.float64),
            truncated_N=torch.zeros(count, dtype=torch.bool),
            mask_NT=mask_NT.bool(),
            totals=LossTotals(rows=rows, tokens=int(mask_NT.sum()), max_tokens=mask_NT.shape[1]),
        )

    return make

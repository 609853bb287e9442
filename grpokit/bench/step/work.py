"""A cell becomes a work file: the tokens that every contestant of the cell gets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from grpokit.bench.step.grid import Cell, Contestant, Settings
from grpokit.spec.stepwork import StepWork

__all__ = ["fingerprint", "make_work", "step_recipe"]

LR = 1e-5
NORM = 1000.0
"""Far above what a step has: gradients are compared as they are."""
STD_EPS = 1e-4
"""TRL's; it adds it to the deviation of the rewards."""
STRIDE = 7
"""Between the beginnings of two texts in the source."""


def make_work(cell: Cell, settings: Settings, model: Mapping[str, Any]) -> StepWork:
    """Tokens of a text repeated, begun at another place for each prompt and completion.

    Rewards alternate, so no group is without a gradient. Of a group the first completions are kept:
    both rewards are among them, but where only one is kept.
    """
    tokens, group = list(model["tokens"]), cell.group
    prompts = tuple(_piece(tokens, STRIDE * 101 * p, cell.prompt) for p in range(settings.prompts))
    completions = tuple(
        tuple(
            _piece(tokens, STRIDE * (p * group + g) + cell.prompt, _length(g, cell, settings))
            for g in range(group)
        )
        for p in range(settings.prompts)
    )
    rewards = tuple(tuple(float(g % 2) for g in range(group)) for _ in prompts)
    return StepWork(
        folder=model["folder"],
        dtype=cell.dtype,
        rank=settings.rank,
        prompts=prompts,
        completions=completions,
        rewards=rewards,
        advantages=tuple(advantages(each) for each in rewards),
        keep=tuple((p, g) for p in range(settings.prompts) for g in range(cell.kept)),
        max_tokens=cell.completion,
        steps=settings.rounds + 1,
        lr=LR,
        max_grad_norm=NORM,
        seed=settings.seed,
        threads=settings.threads,
        device=settings.device,
        recipe=step_recipe(cell, settings, model["folder"]),
    )


def _piece(tokens: Sequence[int], start: int, length: int) -> tuple[int, ...]:
    return tuple(tokens[(start + place) % len(tokens)] for place in range(length))


def _length(g: int, cell: Cell, settings: Settings) -> int:
    """Equal, or from a quarter of the limit to all of it."""
    if settings.lengths == "equal":
        return cell.completion
    quarters = 1 + (g * 3 + g // 4) % 4
    return max(1, cell.completion * quarters // 4)


def advantages(rewards: Sequence[float]) -> tuple[float, ...]:
    """(r - mean) / (std + 1e-4), with the sample deviation; 0 in a group of one."""
    if len(rewards) < 2:
        return (0.0,) * len(rewards)
    mean, deviation = fmean(rewards), stdev(rewards)
    return tuple((reward - mean) / (deviation + STD_EPS) for reward in rewards)


def step_recipe(cell: Cell, settings: Settings, folder: str) -> dict[str, Any]:
    """The same step as a recipe. The data set and the reward are there because a recipe has them."""
    return {
        "grpokit": 1,
        "model": {
            "id": folder,
            "dtype": cell.dtype,
            "lora": {"rank": settings.rank, "alpha": 2.0 * settings.rank},
        },
        "dataset": {"use": "arithmetic"},
        "rewards": [{"use": "exact"}],
        "rollout": {
            "prompts": settings.prompts,
            "group": cell.group,
            "max_tokens": cell.completion,
            "max_prompt_tokens": cell.prompt,
        },
        "optim": {
            "lr": LR,
            "schedule": "constant",
            "warmup": 0.0,
            "max_grad_norm": NORM,
            "betas": (0.9, 0.999),
        },
        "train": {"steps": settings.rounds + 2, "seed": settings.seed},
    }


def fingerprint(work: StepWork, contestant: Contestant) -> str:
    """Equal for two results that may stand for each other."""
    facts = {
        "work": {**asdict(work), "settings": dict(contestant.spec.settings)},
        "target": contestant.spec.target,
        "code": contestant.code,
        "versions": contestant.versions,
        "path": str(contestant.path or ""),
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Real steps of a tiny model under a composition, through the engine's own loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grpokit.algorithms import Composition
from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.contracts import ShouldStop, Task
from grpokit.spec.flow import Prompt, Rollout, Sampling, Scores, Update
from grpokit.spec.recipe import Recipe
from grpokit.spec.sampling import sampling_of
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig

PROMPTS, GROUP, LENGTH = 4, 8, 8
ID_LENGTH = 16


@dataclass
class Step:
    """One step: mean reward of what it drew, what the update said, the loop and its backend after it."""

    reward: float
    update: Update
    backend: HfBackend
    loop: Loop


class Rows:
    """As many questions as a step has prompts, with the columns that samplers look at by default."""

    columns = ("question", "pass_rate", "domain")
    fingerprint = "x"
    size = PROMPTS

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        rate = (index + 0.5) / PROMPTS
        return {"question": f"{index}?", "pass_rate": rate, "domain": "ab"[index % 2]}


class Digits:
    """A scorer without processes."""

    measures = False

    def score(self, rollout: Rollout, should_stop: object = None, facts: object = None) -> Scores:
        del should_stop, facts
        return scored(rollout)


class Backend(HfBackend):
    """Prompts are called by their rows: random numbers depend on the row, not on its columns."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        short = [replace(p, id=f"p{p.index}{p.id[ID_LENGTH:]}") for p in prompts]
        return super().generate(short, sampling, should_stop)


class Watched(Loop):
    """A loop that keeps what the last update said."""

    last: Update

    def train(self, task: Task) -> Update:
        self.last = super().train(task)
        return self.last


def recipe(folder: Path, length: int = LENGTH) -> Recipe:
    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(folder), "dtype": "float32", "lora": None},
            "dataset": {"use": "inline"},
            "prompt": {"use": "plain"},
            "rewards": [{"use": "exact"}],
            "rollout": {"prompts": PROMPTS, "group": GROUP, "max_tokens": length},
            "optim": {"lr": 1e-2, "warmup": 0.0, "schedule": "constant", "minibatches": 2},
            "backend": {"use": "hf"},
            "train": {"steps": 100, "seed": 1},
        }
    )


def scored(rollout: Rollout) -> Scores:
    """The share of digits in a completion; one that is shorter than ``LENGTH`` earns less."""
    table = tuple(
        tuple(sum(map(str.isdigit, one.text)) / max(LENGTH, len(one.token_ids)) for one in group)
        for group in rollout.completions
    )
    return Scores(rewards={"digits": table}, components={}, total=table)


def steps(folder: Path, algorithm: Composition, count: int, length: int = LENGTH) -> Iterator[Step]:
    """``count`` steps with two optimiser steps each, and completions of at most ``length`` tokens."""
    settings, rows = recipe(folder, length), Rows()
    scorer: Any = Digits()
    backend = Backend(HfConfig(threads=1, device="cpu"))
    loop = Watched(
        backend=backend,
        algorithm=algorithm,
        dataset=rows,
        order=RowOrder(rows, seed=settings.train.seed, shuffle=False),
        scorer=scorer,
        budget=ErrorBudget(0.5),
        prompt=settings.prompt,
        sampling=sampling_of(settings),
        observer=Observer(),
        poll=lambda: None,
        prompts=PROMPTS,
    )
    backend.open(
        settings, needs_reference=algorithm.needs_reference, needs_entropy=algorithm.needs_entropy
    )
    try:
        for step in range(1, count + 1):
            result = loop.step(step)
            total = result.batch.whole.scores.total
            reward = sum(map(sum, total)) / sum(map(len, total))
            yield Step(reward, loop.last, backend, loop)
    finally:
        backend.close()

"""The backend `hf` takes the steps of a work: all of its fast paths, or none (`plain`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from grpokit.api import (
    Advantages,
    Algorithm,
    Completion,
    GrpokitError,
    Message,
    PreflightError,
    Prompt,
    Recipe,
    Rollout,
    Sampling,
    Selection,
    StepWatch,
    StepWork,
    algorithms,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.bench.floor import floor_of
from grpokit_hf.bench.weights import fill_adapter, samples_of
from grpokit_hf.config import HfConfig
from grpokit_hf.machine import versions
from grpokit_hf.nn.amx import amx_works

__all__ = ["measure", "recipe_of", "run", "timed_backward"]


def run(work: StepWork, watch: StepWatch) -> None:
    """The contestants `grpokit`, `bf16x3` and `plain`.

    Raises:
        PreflightError: products in parts are asked for, and there are no tiles for them, or no parts.
    """
    own = {key: value for key, value in work.settings.items() if key in HfConfig.model_fields}
    settings = {**own, "device": work.device, "threads": work.threads}
    config = HfConfig.model_validate(settings)
    if config.products == "bf16x3" and (
        work.recipe["model"]["dtype"] != "float32" or not amx_works()
    ):
        raise PreflightError(
            "bf16x3 is float32 by AMX tiles",
            remedy="measure it with --dtype float32 on a processor that has them, or leave it out",
        )
    measure(work, watch, HfBackend(config), recipe_of(work, "hf", settings))


def recipe_of(work: StepWork, backend: str, settings: dict[str, Any]) -> Recipe:
    """The work as a recipe on a backend."""
    data = {**work.recipe, "backend": {"use": backend, "with": settings}}
    return Recipe.model_validate_json(json.dumps(data))  # as JSON: its lists may be tuples


def measure(work: StepWork, watch: StepWatch, backend: HfBackend, recipe: Recipe) -> None:
    """Loads, takes the steps, and then the floor of one more update."""
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    steps = Steps(work=work, watch=watch, backend=backend, algorithm=grpo())
    policy = backend.policy
    fill_adapter(policy.weights, work.seed)
    # Nothing ends a completion early, and prompts are what the work says.
    policy.tokenizer.ends = replace(policy.tokenizer.ends, ids=frozenset())
    vars(backend)["encode"] = steps.encode
    watch.fact("threads", torch.get_num_threads())
    watch.fact("device", policy.device.type)
    if policy.device.type == "cuda":
        watch.fact("gpu", torch.cuda.get_device_name(policy.device))
    watch.fact("versions", versions())
    watch.ready()
    with timed_backward(watch):
        for step in range(1, work.steps + 1):
            steps.take(step)
    if work.settings.get("floor", True):
        watch.floor(floor_of(lambda: steps.update(work.steps + 1)))
    backend.close()


def grpo() -> Algorithm:
    """GRPO without a divergence."""
    return algorithms.Composition(
        advantage=partial(algorithms.group_zscore, std_ddof=1, std_eps=1e-4),
        clip=partial(algorithms.clip_ratio, epsilon=0.2, epsilon_high=None),
        aggregation=algorithms.sequence_mean,
    )


@dataclass(kw_only=True)
class Steps:
    """The steps of a work on an open backend."""

    work: StepWork
    watch: StepWatch
    backend: HfBackend
    algorithm: Algorithm

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """A message is the number of its prompt."""
        return self.work.prompts[int(messages[0]["content"])]

    def take(self, step: int) -> None:
        """Draws, scores, and trains on the tokens of the work."""
        watch = self.watch
        watch.begin()
        with watch.stage("generate"):
            drawn = self.backend.generate(self.prompts(), self.sampling(step))
        with watch.stage("score"):
            [[float(g % 2) for g, _ in enumerate(group)] for group in drawn.completions]
        if any(len(c.token_ids) < self.work.max_tokens for row in drawn.completions for c in row):
            raise GrpokitError("a completion ended early", remedy="this is a fault of the bench")
        with watch.stage("forward"), self.first_gradient(step):
            told = self.update(step)
        watch.move("forward", "optimizer", told.seconds.get("optimizer", 0.0))
        watch.end()
        if step == 1:
            watch.loss(told.metrics["loss"])

    def update(self, step: int) -> Any:
        work = self.work
        advantages_PG = torch.tensor(work.advantages)
        dead_P = (advantages_PG.abs() < 1e-8).all(dim=1)
        return self.backend.update(
            self.algorithm.loss,
            self.rollout(step),
            Advantages(
                advantages_PG=advantages_PG,
                valid_PG=torch.ones_like(advantages_PG, dtype=torch.bool),
                dead_P=dead_P,
            ),
            Selection(rows=work.keep, weights=(1.0,) * len(work.keep), denominator=len(work.keep)),
            step,
        )

    @contextmanager
    def first_gradient(self, step: int) -> Iterator[None]:
        """Looks at the gradient as it is applied."""
        if step > 1:
            yield
            return
        weights = self.backend.policy.weights

        def look(*_: Any) -> None:
            found = samples_of(weights)
            norm = sum(values[0] ** 2 for values in found.values()) ** 0.5
            self.watch.gradient(norm, found)

        hook = self.backend.trainer.optimizer.register_step_pre_hook(look)
        try:
            yield
        finally:
            hook.remove()

    def prompts(self) -> list[Prompt]:
        return [
            Prompt(id=str(p), index=p, row={}, messages=({"role": "user", "content": str(p)},))
            for p in range(len(self.work.prompts))
        ]

    def sampling(self, step: int) -> Sampling:
        work = self.work
        return Sampling(group=work.group, max_tokens=work.max_tokens, seed=work.seed, step=step)

    def rollout(self, step: int) -> Rollout:
        """The work's completions in the place of those that were drawn."""
        return Rollout(
            prompts=tuple(self.prompts()),
            prompt_ids=self.work.prompts,
            completions=tuple(
                tuple(Completion(token_ids=ids, text="", finish="length") for ids in group)
                for group in self.work.completions
            ),
            sampling=self.sampling(step),
        )


@contextmanager
def timed_backward(watch: StepWatch) -> Iterator[None]:
    """Every backward pass of the process is a stage of its own, whoever calls it."""
    ways: dict[str, Callable[..., Any]] = {
        name: getattr(torch.autograd, name) for name in ("backward", "grad")
    }

    def timed(way: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with watch.stage("backward"):
                return way(*args, **named)

        return call

    for name, way in ways.items():
        setattr(torch.autograd, name, timed(way))
    try:
        yield
    finally:
        for name, way in ways.items():
            setattr(torch.autograd, name, way)

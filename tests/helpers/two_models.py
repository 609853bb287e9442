"""`hf` with a sampler of its own: a second model of the same recipe, which draws in another thread.

    with two_models(monkeypatch) as seen:
        train(recipe, ...)

What vLLM is on a machine that has it: weights are copied when they are handed over, and stay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor

from grpokit.engine import session
from grpokit.spec.contracts import ShouldStop
from grpokit.spec.flow import Prompt, Rollout, Sampling, Update
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.reset import copy_of, put

__all__ = ["Seen", "TwoModels", "two_models"]


@dataclass
class Seen:
    """What the backends of a test did.

    Attributes:
        trained: the rollout of each update that was completed.
        before: the trained weights before each of these.
        gradients: at each optimiser step.
        drawn: (step, thread) of every round, in the order in which they began.
        hold: called in the thread that draws ahead, before it draws.
        strike: called in the update, before anything is changed.
    """

    trained: list[Rollout] = field(default_factory=list)
    before: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    drawn: list[tuple[int, str]] = field(default_factory=list)
    hold: Callable[[int, ShouldStop], None] = lambda step, stop: None
    strike: Callable[[int], None] = lambda step: None


class TwoModels(HfBackend):
    """Implements ``DrawsAhead``."""

    def __init__(self, config: HfConfig, seen: Seen) -> None:
        super().__init__(config)
        self.seen = seen
        self.second = HfBackend(config)

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None:
        super().open(recipe, needs_reference=needs_reference, needs_entropy=needs_entropy)
        self.second.open(recipe, needs_reference=False, needs_entropy=False)
        self.trainer.optimizer.register_step_pre_hook(self.look)

    def look(self, *_: Any) -> None:
        weights = self.policy.weights.items()
        self.seen.gradients.append({n: w.grad.clone() for n, w in weights if w.grad is not None})

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        self.seen.drawn.append((sampling.step, threading.current_thread().name))
        return super().generate(prompts, sampling, should_stop)

    def ahead(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Callable[[ShouldStop | None], Rollout]:
        put(self.second.policy.weights, copy_of(self.policy.weights))

        def draw(stop: ShouldStop | None) -> Rollout:
            assert stop is not None
            self.seen.drawn.append((sampling.step, threading.current_thread().name))
            self.seen.hold(sampling.step, stop)
            return self.second.generate(prompts, sampling, stop)

        return draw

    def update(self, loss: Any, rollout: Rollout, *rest: Any) -> Update:
        self.seen.strike(rest[2])
        before = copy_of(self.policy.weights)
        update = super().update(loss, rollout, *rest)
        self.seen.trained.append(rollout)
        self.seen.before.append(before)
        return update

    def close(self) -> None:
        self.second.close()
        super().close()


def two_models(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Every backend that a run makes from now on has a second model."""
    seen = Seen()

    def make(catalog: object, recipe: Recipe) -> TwoModels:
        del catalog
        return TwoModels(HfConfig.model_validate(recipe.backend.with_), seen)

    monkeypatch.setattr(session, "make_backend", make)
    return seen


def drawing() -> list[threading.Thread]:
    """Threads that draw ahead."""
    with suppress(RuntimeError):
        return [each for each in threading.enumerate() if each.name == "grpokit-ahead"]
    return []

"""The steps of a run: begin, train, end. The trainer's loop asks it for each optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from grpokit.api import Feed, NonFiniteError, Recipe, Resets, Task
from grpokit_trl.agree import agreed, sum_gradients
from grpokit_trl.work import Work

__all__ = ["Driver"]

MAX_SKIPPED = 3
"""Optimiser steps in a row that may be skipped because their gradient is not finite."""


class Driver:
    """What is left of the present step, and the counters of the run.

    Attributes:
        work: the rollout batch that is being trained; None between two.
        bad_streak: optimiser steps skipped in a row.
        torn: the weights are between two steps, because an update failed half way.
    """

    def __init__(
        self,
        recipe: Recipe,
        trainer: Any,
        reset: Callable[[Resets], None],
        reference: Callable[[], Any] | None,
    ) -> None:
        self.recipe = recipe
        self.trainer = trainer
        self.reset = reset
        self.reference = reference
        self.feed: Feed | None = None
        self.work: Work | None = None
        self.bad_streak = 0
        self.streak_before = 0
        self.torn = False

    def advance(self) -> bool:
        """Ends a step that is done and begins the next; False once there is none.

        A step in which nothing trains begins and ends here.
        """
        if self.feed is None:
            return False
        while True:
            if self.work is not None:
                if self.work.parts:
                    return True
                self.finish(self.work)
            task = self.feed.begin()
            if task is None:
                return False
            self.start(task)

    def start(self, task: Task) -> None:
        self.streak_before = self.bad_streak
        if task.resets != Resets():
            self.torn = task.resets.policy
            self.reset(task.resets)
        work = Work(task, self.recipe, self.trainer)
        agreed(self.trainer, lambda: work.prepare(self.reference))
        self.work = work

    def finish(self, work: Work) -> None:
        if self.bad_streak > MAX_SKIPPED:
            streak, self.bad_streak = self.bad_streak, self.streak_before
            raise NonFiniteError(
                f"{streak} optimiser steps in a row had a gradient that is not finite",
                place=f"step {work.task.step}",
                remedy="lower optim.lr, or set model.dtype: float32",
            )
        self.torn = False
        self.work = None
        if self.feed is not None:
            self.feed.end(work.tally.update())

    def optimizer_step(self, model: Any) -> torch.Tensor:
        """Gradients of the next optimiser step, clipped; a non-finite one is dropped and counted.

        The trainer applies them when this returns.
        """
        if self.work is None:
            raise RuntimeError("the trainer asked for an optimiser step that there is not")
        work, trainer = self.work, self.trainer
        part = work.parts.pop(0)
        tally = work.tally
        tally.lr = work.rate(part)
        trainer.set_rate(tally.lr)
        try:
            with tally.time("forward_backward"):
                own = agreed(trainer, lambda: work.accumulate(part, model))
                sum_gradients(trainer)
                share = work.summed(own)
        except BaseException:
            model.zero_grad(set_to_none=True)
            self.bad_streak = self.streak_before  # the step is taken again, and counts then
            raise
        norm = trainer.clipped_norm(model, self.recipe.optim.max_grad_norm)
        if math.isfinite(norm) and math.isfinite(share.loss):
            self.torn = True
            tally.steps += 1
            tally.norms.append(norm)
            tally.losses.append(share.loss)
            self.bad_streak = 0
        else:
            model.zero_grad(set_to_none=True)  # without gradients the optimiser does nothing
            tally.skipped += 1
            self.bad_streak += 1
        tally.add(share.sums)
        return torch.tensor(share.loss, device=trainer.args.device)

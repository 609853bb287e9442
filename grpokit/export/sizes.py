"""A step's arithmetic, as other trainers count it: optimiser steps, and rows a forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpokit.export.notes import Notes
    from grpokit.spec.recipe import Recipe

__all__ = ["Sizes", "sizes_of"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of a step and of the run.

    Attributes:
        prompts, group: as in the recipe.
        minibatches: optimiser steps a pass, a divisor of the prompts.
        iterations: passes.
        updates: optimiser steps of the run.
        warmup: the first of them, in which the rate rises.
        micro: completions a forward.
        lr: peak rate.
    """

    prompts: int
    group: int
    minibatches: int
    iterations: int
    updates: int
    warmup: int
    micro: int
    lr: float

    @property
    def completions(self) -> int:
        """Completions of a step."""
        return self.prompts * self.group

    @property
    def per_update(self) -> int:
        """Completions of an optimiser step."""
        return self.completions // self.minibatches

    @property
    def per_step(self) -> int:
        """Optimiser steps of a step."""
        return self.minibatches * self.iterations


def sizes_of(recipe: Recipe, notes: Notes, *, unit: int, longest: int) -> Sizes:
    """The numbers.

    Args:
        recipe: what the step asks.
        notes: takes what cannot be kept.
        unit: what a minibatch must be a multiple of: 1, or a whole group.
        longest: bound of a prompt's tokens.
    """
    rollout, optim = recipe.rollout, recipe.optim
    total = rollout.prompts * rollout.group
    parts = next(n for n in range(optim.minibatches, 0, -1) if total % (n * unit) == 0)
    if parts != optim.minibatches:
        notes.differs(
            "optim.minibatches",
            f"{optim.minibatches} equal parts of {total} completions do not exist there; it is {parts}",
        )
    per_step = parts * optim.iterations
    updates = recipe.train.steps * per_step
    share = optim.warmup * updates if optim.warmup < 1 else optim.warmup * per_step
    warmup = 0 if optim.schedule == "constant" else min(round(share), updates)
    default = 5e-6 if recipe.model.lora is not None else 1e-6
    return Sizes(
        prompts=rollout.prompts,
        group=rollout.group,
        minibatches=parts,
        iterations=optim.iterations,
        updates=updates,
        warmup=warmup,
        micro=_micro(recipe, total // parts, longest),
        lr=optim.lr or default,
    )


def _micro(recipe: Recipe, rows: int, longest: int) -> int:
    """Completions a forward: the largest divisor of a minibatch within the recipe's bound."""
    most = recipe.optim.micro_batch
    if most is None:
        prompt = min(longest, recipe.rollout.max_prompt_tokens or longest)
        length = recipe.rollout.max_tokens + prompt
        most = max(1, min(64, recipe.optim.micro_tokens // length))
    return next(n for n in range(min(most, rows), 0, -1) if rows % n == 0)

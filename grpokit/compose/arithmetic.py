"""Batch arithmetic: what a recipe's numbers multiply to. Plain integers, no model needed."""

from __future__ import annotations

import math

from grpokit.spec.plan import Arithmetic
from grpokit.spec.recipe import Recipe

__all__ = ["arithmetic", "steps_for_epochs"]


def arithmetic(recipe: Recipe, rows: int | None) -> Arithmetic:
    """The numbers of the run; ``rows`` is the size of the data set, None for an endless one.

    A step asks P questions, P = ``rollout.prompts``, and samples G answers to each. It is followed
    by ``optim.iterations * optim.minibatches`` optimiser steps. ``max_new_tokens`` is the upper
    bound: every completion at its limit.
    """
    steps, rollout, optim = recipe.train.steps, recipe.rollout, recipe.optim
    per_step = rollout.prompts * rollout.group
    questions = steps * rollout.prompts
    return Arithmetic(
        steps=steps,
        prompts_per_step=rollout.prompts,
        completions_per_step=per_step,
        questions=questions,
        completions=steps * per_step,
        max_new_tokens=steps * per_step * rollout.max_tokens,
        optimizer_steps=steps * optim.iterations * optim.minibatches,
        rows=rows,
        epochs=questions / rows if rows else None,
    )


def steps_for_epochs(rows: int, prompts: int, epochs: float = 1.0) -> int:
    """Steps that show each row ``epochs`` times: ceil(rows * epochs / P).

    300 rows at one prompt a step are 300 steps; three epochs of them are 900.
    """
    return math.ceil(rows * epochs / prompts)

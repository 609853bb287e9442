"""From a recipe to how completions are drawn."""

from __future__ import annotations

from grpokit.spec.flow import Sampling
from grpokit.spec.recipe import Recipe

__all__ = ["exam_sampling_of", "sampling_of"]


def sampling_of(recipe: Recipe) -> Sampling:
    """How training draws completions."""
    rollout = recipe.rollout
    return Sampling(
        group=rollout.group,
        max_tokens=rollout.max_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        min_p=rollout.min_p,
        seed=recipe.train.seed,
    )


def exam_sampling_of(recipe: Recipe) -> Sampling:
    """How an evaluation draws answers."""
    section = recipe.eval
    return Sampling(
        group=section.samples,
        max_tokens=section.max_tokens or recipe.rollout.max_tokens,
        temperature=section.temperature,
        top_p=section.top_p,
        seed=section.seed,
        until=section.until,
    )

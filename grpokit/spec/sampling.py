"""From a recipe to how completions are drawn."""

from __future__ import annotations

from grpokit.spec.flow import Sampling
from grpokit.spec.recipe import Recipe

__all__ = ["sampling_of"]


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

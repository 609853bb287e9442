"""Prompts against the recipe's limit and the model's window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.spec.contracts import Problem
from grpokit.spec.recipe import Recipe

__all__ = ["check_lengths"]


def check_lengths(
    recipe: Recipe, config: Mapping[str, Any], lengths: Sequence[int]
) -> list[Problem]:
    """What is wrong with prompts of these lengths (tokens, in the order of the rows).

    ``config`` has the names of a ``config.json``.
    """
    if not lengths:
        return []
    row = max(range(len(lengths)), key=lengths.__getitem__)
    return [*_over_limit(recipe, lengths, row), *_over_window(recipe, config, lengths, row)]


def _over_limit(recipe: Recipe, lengths: Sequence[int], row: int) -> list[Problem]:
    rollout = recipe.rollout
    limit = rollout.max_prompt_tokens
    if limit is None or lengths[row] <= limit:
        return []
    over = sum(length > limit for length in lengths)
    drop = rollout.on_long_prompt == "drop"
    return [
        Problem(
            level="info" if drop and over < len(lengths) else "error",
            fact=f"{over} of the first {len(lengths)} prompts are longer than {limit} tokens; "
            f"row {row} has {lengths[row]}" + (" (such rows are dropped)" if drop else ""),
            remedy=f"--set rollout.max_prompt_tokens={lengths[row]}"
            + ("" if drop else ", or --set rollout.on_long_prompt=drop"),
            code="P207",
            key="rollout.max_prompt_tokens",
        )
    ]


def _over_window(
    recipe: Recipe, config: Mapping[str, Any], lengths: Sequence[int], row: int
) -> list[Problem]:
    window = config.get("max_position_embeddings")
    if not isinstance(window, int):
        return []
    wanted = [("rollout.max_tokens", recipe.rollout.max_tokens, _longest_kept(recipe, lengths))]
    if recipe.eval.max_tokens is not None:
        wanted.append(("eval.max_tokens", recipe.eval.max_tokens, row))
    return [
        Problem(
            level="error",
            fact=f"the prompt of row {at} ({lengths[at]} tokens) and {new} new tokens exceed the "
            f"model's {window}",
            remedy=f"--set {key}={window - lengths[at]}"
            if lengths[at] < window
            else "take a model with a longer window, or drop such rows with "
            "rollout.max_prompt_tokens and rollout.on_long_prompt: drop",
            code="P207",
            key=key,
        )
        for key, new, at in wanted
        if at is not None
        and window < lengths[at] + new
        and (new < window or key != "rollout.max_tokens")  # the preflight names that one
    ]


def _longest_kept(recipe: Recipe, lengths: Sequence[int]) -> int | None:
    """The row of the longest prompt that is sampled from; None if the recipe drops them all."""
    limit = recipe.rollout.max_prompt_tokens
    drops = limit is not None and recipe.rollout.on_long_prompt == "drop"
    kept = [at for at, length in enumerate(lengths) if not drops or length <= (limit or 0)]
    return max(kept, key=lengths.__getitem__, default=None)

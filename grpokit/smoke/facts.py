"""What a smoke run's files say, and what must be true of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.engine.checkpoint import CheckpointStore, verify
from grpokit.errors import CheckpointError, ComponentError, NonFiniteError, RewardError
from grpokit.spec.recipe import Recipe

__all__ = ["check_checkpoints", "check_gradient", "check_moved", "check_same", "steady"]

Rows = Sequence[Mapping[str, Any]]


def steady(recipe: Recipe, rollouts: Rows) -> dict[str, float | None]:
    """Rewards with a weight that scored every completion the same: name -> that score."""
    found: dict[str, float | None] = {}
    for section in recipe.rewards:
        name = section.name or section.use.rpartition("/")[2]
        scores = {
            completion["rewards"].get(name) for row in rollouts for completion in row["completions"]
        }
        if section.weight and len(scores) == 1:
            found[name] = scores.pop()
    return found


def check_gradient(recipe: Recipe, metrics: Rows, rollouts: Rows) -> tuple[float, ...]:
    """The norms of the gradients, step by step; 0 for a step in which nothing trained.

    Raises:
        RewardError: no group has rewards that differ, so there is nothing to learn.
        NonFiniteError: a gradient was no number.
        ComponentError: rewards differ, and yet there is no gradient.
    """
    algorithm = _algorithm(recipe)
    for row in metrics:
        if row.get("skipped_steps") or not math.isfinite(row.get("grad_norm", 0.0)):
            raise NonFiniteError(
                f"the gradient of step {row['step']} is not finite: {algorithm} made a loss, or "
                "the gradient of one, that is no number",
                place="algorithm",
                remedy="look for a logarithm or a quotient of 0 in the part that was added last",
            )
    norms = tuple(float(row.get("grad_norm", 0.0)) for row in metrics)
    if any(norms):
        return norms
    if not any(map(_differs, rollouts)):
        raise RewardError(
            f"every group is dead, also with right and wrong answers in it: {_told(recipe, rollouts)}",
            place="rewards",
            remedy="`grpokit rewards try` asks them about one completion, "
            "`grpokit rewards check` about many",
        )
    raise ComponentError(
        f"the rewards of a group differ, and no gradient reaches the weights: {algorithm} gives none",
        place="algorithm",
        remedy="rollouts.jsonl has the advantage of each completion, and whether it was kept",
    )


def _differs(row: Mapping[str, Any]) -> bool:
    """Whether the completions of a question earn different totals."""
    return len({each["total"] for each in row["completions"]} - {None}) > 1


def _algorithm(recipe: Recipe) -> str:
    parts = (f"{axis} {part.use}" for axis, part in recipe.algorithm.parts.items())
    named = ", ".join(parts)
    return f"the algorithm {recipe.algorithm.use}" + (f" with {named}" if named else "")


def _told(recipe: Recipe, rollouts: Rows) -> str:
    """Why no group has a signal, in words."""
    same = steady(recipe, rollouts)
    completions = sum(len(row["completions"]) for row in rollouts)
    told = [
        f"{name} has no score for any of {completions} completions"
        if score is None
        else f"{name} gives {score:g} to each of {completions} completions"
        for name, score in same.items()
    ]
    return "; ".join(told) or "the rewards differ between questions only, or cancel each other"


def weights(folder: Path) -> dict[str, str]:
    """Weight file -> its SHA-256."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


def check_moved(before: Path, after: Path) -> None:
    """Training has changed the weights."""
    old, new = weights(before), weights(after)
    if not new or new == old:
        raise ComponentError(
            "the weights after the last step are those before the first one",
            place=str(after),
            remedy="look at optim.lr and at what the algorithm resets",
        )


def check_checkpoints(store: CheckpointStore, steps: Iterable[int], final: Path) -> None:
    """A whole checkpoint of every step, and the trained policy."""
    for step in steps:
        folder = store.folder / f"step-{step:06d}"
        problem = verify(folder) if folder.is_dir() else "it was not written"
        if problem:
            raise CheckpointError(
                f"the checkpoint of step {step} is not whole: {problem}",
                place=str(folder),
                remedy="look at what the backend's save_policy and save_state write",
            )
    if not weights(final):
        raise CheckpointError(
            "the trained policy was not written",
            place=str(final),
            remedy="look at what the backend's save_policy writes",
        )


def check_same(whole: Path, resumed: Path) -> int:
    """Two checkpoints of one step hold the same weights; how many files these are.

    Raises:
        CheckpointError: with the files that differ.
    """
    one, other = weights(whole), weights(resumed)
    different = sorted(name for name in {**one, **other} if one.get(name) != other.get(name))
    if different:
        raise CheckpointError(
            f"resumed after step 1, step 2 ends with other weights: {', '.join(different)}",
            place=str(resumed),
            remedy="whatever remembers or draws by lot must be in a checkpoint (`state`, `load_state`) "
            "or derive from the seed (`derive_seed`)",
        )
    return len(one)

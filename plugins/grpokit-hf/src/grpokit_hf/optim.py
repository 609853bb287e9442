"""AdamW over the trained weights, and learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from grpokit.api import OutOfMemoryError, Recipe
from grpokit_hf.parallel import Team

__all__ = ["apply", "default_lr", "learning_rate", "make_optimizer"]


def default_lr(recipe: Recipe) -> float:
    """The recipe's learning rate, or 5e-6 with LoRA and 1e-6 without."""
    if recipe.optim.lr is not None:
        return recipe.optim.lr
    return 5e-6 if recipe.model.lora is not None else 1e-6


def learning_rate(recipe: Recipe, index: int) -> float:
    """Rate of optimiser step ``index`` (0, 1, ...) of the run.

    Warm-up rises linearly and reaches the peak with its last step, so that the first step already
    learns. `linear` and `cosine` fall from the peak to 0 after the last step. A function of the
    index alone: a resumed run needs no schedule state, and a skipped step shifts nothing.
    """
    optim = recipe.optim
    per_step = optim.iterations * optim.minibatches
    total = recipe.train.steps * per_step
    share = optim.warmup < 1
    warm = (
        0
        if optim.schedule == "constant"
        else (round(optim.warmup * total) if share else round(optim.warmup * per_step))
    )
    warm = min(warm, total)
    peak = default_lr(recipe)
    if index < warm:
        return peak * (index + 1) / warm
    done = min(1.0, (index - warm) / max(1, total - warm))
    if optim.schedule == "linear":
        return peak * (1.0 - done)
    if optim.schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * done))
    return peak


def make_optimizer(weights: Mapping[str, Tensor], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW in one fused kernel. Vectors (norms, biases) are not decayed."""
    optim = recipe.optim
    matrices = [weight for weight in weights.values() if weight.ndim >= 2]
    vectors = [weight for weight in weights.values() if weight.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": optim.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=default_lr(recipe),
        betas=optim.betas,
        eps=optim.eps,
        fused=True,
    )


def apply(optimizer: torch.optim.Optimizer, team: Team, place: str) -> None:
    """The optimiser's step, the first of which makes the moments; on all processes or an error on all.

    Raises:
        OutOfMemoryError: there is no room for the moments; what weights have moved is unknown.
    """
    try:
        team.jointly(optimizer.step)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "the optimiser's moments do not fit in memory",
            place=place,
            remedy="train an adapter (model.lora), take a smaller model, or several processes with "
            "backend.with.parallel: fsdp",
        ) from error

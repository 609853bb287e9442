"""Axis ``aggregate``: what the rewards said, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grpokit.algorithms.advantage import group_zscore
from grpokit.errors import ComponentError
from grpokit.spec.flow import Scores

__all__ = ["normalised_sum", "power_scores", "table", "total_scores"]


def total_scores(scores: Scores) -> tuple[Tensor, Tensor]:
    """The weighted sum, which scoring has already formed, as totals_PG and valid_PG.

    total = sum_k weight_k * reward_k over the rewards that did not abstain. Where every reward
    abstained there is no total: the row is invalid and its place holds 0. All groups must have the
    same size.
    """
    return table(scores.total)


def normalised_sum(
    scores: Scores,
    *,
    weights: Mapping[str, float] | None = None,
    std_ddof: int = 1,
    std_eps: float = 1e-4,
) -> tuple[Tensor, Tensor]:
    """Each reward as a z-score in its group, then the weighted sum (GDPO, arXiv 2601.05242).

    total_i = sum_k weight_k (r_ik - mean_k) / (std_k + std_eps)

    A reward with a wide range does not drown one with a narrow range. ``weights`` None are those of the
    recipe. A reward that abstained adds 0 to its row and leaves its own statistics; the total says
    which rows count. Degenerate: a reward that is equal over a group adds exactly 0 to it.

    Raises:
        ComponentError: ``weights`` names a reward that does not exist.
    """
    if weights is None:
        weights = {name: scores.weights.get(name, 1.0) for name in scores.rewards}
    unknown = [name for name in weights if name not in scores.rewards]
    if unknown:
        raise ComponentError(
            f"normalise-then-sum weighs rewards that do not exist: {', '.join(unknown)}",
            place="algorithm.parts.aggregate",
            remedy=f"use names of the recipe's rewards: {', '.join(scores.rewards)}",
        )
    totals_PG, valid_PG = total_scores(scores)
    summed_PG = torch.zeros_like(totals_PG)
    for name, weight in weights.items():
        values_PG, given_PG = table(scores.rewards[name])
        scored_PG = group_zscore(values_PG, given_PG & valid_PG, std_ddof=std_ddof, std_eps=std_eps)
        summed_PG = summed_PG + weight * scored_PG
    return summed_PG, valid_PG


def power_scores(scores: Scores, *, exponent: float = 4.0) -> tuple[Tensor, Tensor]:
    """The weighted sum, raised to a power: the last steps to a full score count most.

    total = sign(r) |r|^exponent. For totals between 0 and 1, a rise from .9 to 1 then weighs more
    than one from 0 to .7. Totals of 0, 1 and -1 stay as they are.
    """
    totals_PG, valid_PG = total_scores(scores)
    return totals_PG.sign() * totals_PG.abs().pow(exponent), valid_PG


def table(rows: Sequence[Sequence[float | None]]) -> tuple[Tensor, Tensor]:
    """values_PG in float64 with 0 in place of None, and where there was a value."""
    values_PG = torch.tensor(
        [[0.0 if value is None else float(value) for value in group] for group in rows],
        dtype=torch.float64,
    )
    return values_PG, torch.tensor([[value is not None for value in group] for group in rows])

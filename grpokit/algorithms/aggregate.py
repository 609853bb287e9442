"""Axis ``aggregate``: what the rewards said, as tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from grpokit.spec.flow import Scores

__all__ = ["total_scores"]


def total_scores(scores: Scores) -> tuple[Tensor, Tensor]:
    """The weighted sum, which scoring has already formed, as totals_PG and valid_PG.

    total = sum_k weight_k * reward_k over the rewards that did not abstain. Where every reward
    abstained there is no total: the row is invalid and its place holds 0. All groups must have the
    same size.
    """
    totals_PG = torch.tensor(
        [[0.0 if value is None else float(value) for value in group] for group in scores.total],
        dtype=torch.float64,
    )
    valid_PG = torch.tensor([[value is not None for value in group] for group in scores.total])
    return totals_PG, valid_PG

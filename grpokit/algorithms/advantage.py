"""Axis ``advantage``: how much better than its group a completion is.

Statistics are taken over the valid completions of a group only. A completion for which every reward
abstained gets advantage 0 and changes no neighbour's. A group with fewer than two valid completions,
and a group whose valid totals are all equal, get exactly 0: rounding never invents a signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "group_centred",
    "group_zscore",
    "kept_zscore",
    "leave_one_out",
    "length_weighted",
    "pass_at_k",
]


def group_zscore(
    totals_PG: Tensor, valid_PG: Tensor, *, std_ddof: int = 1, std_eps: float = 1e-4
) -> Tensor:
    """Distance from the group's mean in standard deviations (GRPO, arXiv 2402.03300).

    A_i = (r_i - mean r) / (std r + std_eps), with std over n - std_ddof.

    ``std_ddof`` 1 is the sample deviation (TRL, verl), 0 the population's (OpenPipe, GFPO).
    ``std_eps`` is 1e-4 in TRL, 1e-6 in verl and OpenPipe. Degenerate: see the module.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    count_P1 = valid_PG.sum(-1, keepdim=True)
    degrees_P1 = (count_P1 - std_ddof).clamp(min=1)
    std_P1 = (centred_PG.square().sum(-1, keepdim=True) / degrees_P1).sqrt()
    return torch.where(centred_PG == 0, 0.0, centred_PG / (std_P1 + std_eps))


def group_centred(totals_PG: Tensor, valid_PG: Tensor) -> Tensor:
    """Distance from the group's mean, unscaled (Dr. GRPO, arXiv 2503.20783).

    A_i = r_i - mean r. No division by the deviation, so that easy and hard questions do not weigh
    more than the others. Degenerate: see the module.
    """
    count_P1 = valid_PG.sum(-1, keepdim=True)
    kept_PG = torch.where(valid_PG, totals_PG, 0.0)
    mean_P1 = kept_PG.sum(-1, keepdim=True) / count_P1.clamp(min=1)
    high_P1 = totals_PG.masked_fill(~valid_PG, -torch.inf).amax(-1, keepdim=True)
    low_P1 = totals_PG.masked_fill(~valid_PG, torch.inf).amin(-1, keepdim=True)
    # Not max == min: totals that differ only by rounding (0.1 + 0.2 against 0.3) are equal.
    scale_P1 = kept_PG.abs().amax(-1, keepdim=True).clamp(min=1.0)
    differ_P1 = high_P1 - low_P1 > 1e-12 * scale_P1
    return torch.where(valid_PG & differ_P1, totals_PG - mean_P1, 0.0)


def leave_one_out(totals_PG: Tensor, valid_PG: Tensor) -> Tensor:
    """Distance from the mean of the group's other completions (RLOO, arXiv 2402.14740).

    A_i = r_i - 1/(n-1) sum_{j != i} r_j = n/(n-1) (r_i - mean r), with n valid completions. The
    baseline does not know r_i, so the gradient has no bias. Degenerate: see the module.
    """
    count_P1 = valid_PG.sum(-1, keepdim=True)
    return group_centred(totals_PG, valid_PG) * (count_P1 / (count_P1 - 1).clamp(min=1))


def pass_at_k(
    totals_PG: Tensor, valid_PG: Tensor, *, scale: bool = True, std_eps: float = 1e-6
) -> Tensor:
    """Only the best of a group gets a signal: how much the group would lose (arXiv 2503.19595).

    A_best = (r_best - r_second) / (std r + std_eps), all others 0; std over n - 1. Without
    ``scale`` it is not divided. Degenerate: two that share the first place cancel each other, as
    does a group with fewer than two valid completions.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    if totals_PG.shape[-1] < 2:
        return torch.zeros_like(centred_PG)
    ranked_PG = centred_PG.masked_fill(~valid_PG, -torch.inf)
    top_P2, place_P2 = ranked_PG.topk(2, dim=-1)
    gap_P1 = top_P2[..., :1] - top_P2[..., 1:]
    if scale:
        degrees_P1 = (valid_PG.sum(-1, keepdim=True) - 1).clamp(min=1)
        gap_P1 = gap_P1 / (
            (centred_PG.square().sum(-1, keepdim=True) / degrees_P1).sqrt() + std_eps
        )
    alive_P1 = (centred_PG != 0).any(-1, keepdim=True)
    gap_P1 = torch.where(alive_P1, gap_P1, 0.0)
    return torch.zeros_like(centred_PG).scatter(-1, place_P2[..., :1], gap_P1)


def length_weighted(totals_PG: Tensor, valid_PG: Tensor, lengths_PG: Tensor) -> Tensor:
    """Distance from the mean of the group weighted by length (OPO, arXiv 2505.23585).

    A_i = r_i - sum_j L_j r_j / sum_j L_j. Long completions have larger gradients, so their rewards
    matter more to the baseline of least variance. The part is in ``lengthwise``. Degenerate:
    see the module.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    weights_PG = torch.where(valid_PG, lengths_PG.to(totals_PG.dtype), 0.0)
    shift_P1 = (weights_PG * centred_PG).sum(-1, keepdim=True) / weights_PG.sum(
        -1, keepdim=True
    ).clamp(min=1)
    alive_P1 = (centred_PG != 0).any(-1, keepdim=True)
    return torch.where(valid_PG & alive_P1, centred_PG - shift_P1, 0.0)


def kept_zscore(
    totals_PG: Tensor, kept_PG: Tensor, *, std_ddof: int = 0, std_eps: float = 0.0
) -> Tensor:
    """Z-scores among the kept completions of a group, 0 for the others (GFPO, arXiv 2508.09726).

    A_i = (r_i - mean_S r) / std_S r for i in S, with the population's deviation as in the paper.
    What is kept depends on lengths: see ``lengthwise``. Degenerate: if all that are kept have
    the same total, the group teaches nothing.
    """
    return group_zscore(totals_PG, kept_PG, std_ddof=std_ddof, std_eps=std_eps)

"""Axis ``advantage``: how much better than its group a completion is.

Statistics are taken over the valid completions of a group only. A completion for which every reward
abstained gets advantage 0 and changes no neighbour's. A group with fewer than two valid completions,
and a group whose valid totals are all equal, get exactly 0: rounding never invents a signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["group_centred", "group_zscore"]


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

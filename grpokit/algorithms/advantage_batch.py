"""Axis ``advantage``, parts that look at the whole batch beside the group.

The advantage of a completion here depends on the other questions of the step. The group's mean is
always taken off first, so a group with equal totals gets exactly 0, and so does a whole batch of
such groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit.algorithms.advantage import group_centred
from grpokit.errors import ComponentError
from grpokit.spec.flow import Rollout

__all__ = ["TokenWhitened", "batch_std", "beta_normalised", "fit_beta", "reinforce_baseline"]


def batch_std(totals_PG: Tensor, valid_PG: Tensor, *, std_eps: float = 1e-4) -> Tensor:
    """Distance from the group's mean by the batch's deviation (Lite PPO, arXiv 2508.08221).

    A_i = (r_i - mean_group r) / (std_batch r + std_eps), std of all valid totals over n - 1.

    One scale for all questions: nearly solved ones do not blow up, as they do under the group's
    deviation. Degenerate: see the module.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    kept_N = totals_PG[valid_PG]
    if kept_N.numel() < 2:
        return torch.zeros_like(centred_PG)
    return torch.where(centred_PG == 0, 0.0, centred_PG / (kept_N.std() + std_eps))


def reinforce_baseline(
    totals_PG: Tensor,
    valid_PG: Tensor,
    *,
    variance_eps: float = 1e-8,
    lengths_PG: Tensor | None = None,
    shift_dead: bool = False,
) -> Tensor:
    """Distance from the group's mean, whitened over the batch (REINFORCE++, arXiv 2501.03262).

    a_i = r_i - mean_group r
    A_i = (a_i - mean_batch a) / sqrt(var_batch a + variance_eps), var over n - 1.

    Statistics of the batch count every completion once; mean_batch a is then 0 by construction.
    With ``lengths_PG`` they count every token once, as in verl. After ``normalise-then-sum`` this is
    GDPO (arXiv 2601.05242). Degenerate: see the module; a group with equal totals keeps 0 under
    lengths too, unless ``shift_dead`` gives it -mean / std as verl does.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    counts_PG = valid_PG.to(totals_PG.dtype)
    mean = centred_PG.new_zeros(())
    if lengths_PG is not None:
        counts_PG = counts_PG * lengths_PG
        mean = (counts_PG * centred_PG).sum() / counts_PG.sum().clamp(min=1)
    degrees = (counts_PG.sum() - 1).clamp(min=1)
    variance = (counts_PG * (centred_PG - mean).square()).sum() / degrees
    alive_P1 = (centred_PG != 0).any(-1, keepdim=True)
    if shift_dead and bool(alive_P1.any()):
        alive_P1 = torch.ones_like(alive_P1)
    white_PG = (centred_PG - mean) / (variance + variance_eps).sqrt()
    return torch.where(valid_PG & alive_P1, white_PG, 0.0)


@dataclass
class TokenWhitened:
    """``reinforce_baseline`` with statistics over tokens, as a part that asks for the rollout."""

    variance_eps: float = 1e-8
    shift_dead: bool = False
    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        lengths = [[len(one.token_ids) for one in group] for group in rollout.completions]
        return reinforce_baseline(
            totals_PG,
            valid_PG,
            variance_eps=self.variance_eps,
            lengths_PG=torch.tensor(lengths, dtype=totals_PG.dtype).reshape(totals_PG.shape),
            shift_dead=self.shift_dead,
        )


def fit_beta(means_P: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters of the normalising density for these mean totals (arXiv 2506.02864).

    Beta(a, b) is fitted to the means by their moments; alpha = 1 + a/3 and beta = 1 + b/3 then give
    the gradient its least variance. Both are at least 1. Degenerate: with fewer than two groups, or
    equal means, there is no variance to fit and both are 1.
    """
    one = means_P.new_ones(())
    if means_P.numel() < 2:
        return one, one
    mean, variance = means_P.mean(), means_P.var()
    if variance <= 1e-12:
        return one, one
    total = mean * (1 - mean) / variance - 1
    return (1 + total * mean / 3).clamp(min=1.0), (1 + total * (1 - mean) / 3).clamp(min=1.0)


def beta_normalised(
    totals_PG: Tensor,
    valid_PG: Tensor,
    *,
    alpha: float | None = None,
    beta: float | None = None,
    low: float = 0.0,
    high: float = 1.0,
    cap: float = 1e6,
) -> Tensor:
    """Distance from the group's mean by a Beta density at that mean (BNPO, arXiv 2506.02864).

    A_i = (r_i - p) / f(p; alpha, beta), p the group's mean, f the density of Beta(alpha, beta).

    Totals are mapped from [low, high] to [0, 1] first. alpha = beta = 1 is ``group-centred``;
    alpha = beta = 3/2 is the population z-score divided by 8/pi = 2.546, for totals of 0 and 1. Without
    alpha and beta, ``fit_beta`` chooses them from the batch's groups. 1/f is at most ``cap``. Not
    ``loss_type="bnpo"`` of other trainers, which is an aggregation. Degenerate: see the module.
    """
    kept_N = totals_PG[valid_PG]
    if ((kept_N < low) | (kept_N > high)).any():
        raise ComponentError(
            f"beta-normalised met a total of {_outside(kept_N, low, high):g}, outside {low:g} to {high:g}",
            place="algorithm.parts.advantage",
            remedy="set low and high to the smallest and largest total that the rewards can give",
        )
    unit_PG = torch.where(valid_PG, (totals_PG - low) / (high - low), 0.0)
    centred_PG = group_centred(unit_PG, valid_PG)
    count_P = valid_PG.sum(-1)
    mean_P = unit_PG.sum(-1) / count_P.clamp(min=1)
    if alpha is None or beta is None:
        first, second = fit_beta(mean_P[count_P > 1])
    else:
        first, second = mean_P.new_tensor(alpha), mean_P.new_tensor(beta)
    norm = torch.lgamma(first) + torch.lgamma(second) - torch.lgamma(first + second)
    log_density_P = (first - 1) * mean_P.log() + (second - 1) * (-mean_P).log1p() - norm
    factor_P1 = (-log_density_P).exp().clamp(max=cap).unsqueeze(-1)
    # A mean of 0 or 1 has no density (or 0 * inf); its group is dead and stays 0.
    return torch.where(centred_PG == 0, 0.0, centred_PG * factor_P1)


def _outside(values_N: Tensor, low: float, high: float) -> float:
    return float(values_N[(values_N < low) | (values_N > high)][0])

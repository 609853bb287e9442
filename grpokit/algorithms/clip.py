"""Axis ``clip``: the trust region, by clipping the ratio."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from grpokit.algorithms.axes import Clipped
from grpokit.spec.flow import LossInputs

__all__ = ["clip_off_policy", "clip_ratio", "dual_clip"]


def clip_ratio(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs | None = None,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
) -> Clipped:
    """The pessimistic minimum of plain and clipped objective, symmetric unless told otherwise.

    objective = min(min(w, delta) A, clip(w, 1 - epsilon, 1 + epsilon_high) A)

    * PPO and GRPO (arXiv 1707.06347, 2402.03300): ``epsilon`` alone.
    * DAPO clip-higher (arXiv 2503.14476): ``epsilon_high`` above ``epsilon``; None means equal.
    * INTELLECT-2 two-sided clip (arXiv 2505.07291): ``delta`` bounds the ratio where A < 0, which
      the other two leave open. It must exceed 1 + epsilon_high. None means off.

    Shares: ``clip_low`` (w below the region and A < 0), ``clip_high`` (above it and A > 0), and with
    delta ``clip_delta`` (above delta and A < 0). These tokens have no gradient. A = 0 gives 0.
    """
    del inputs
    low, high = 1 - epsilon, 1 + (epsilon if epsilon_high is None else epsilon_high)
    bounded_NT = ratio_NT if delta is None else ratio_NT.clamp(max=delta)
    objective_NT = torch.minimum(
        bounded_NT * advantages_N1, ratio_NT.clamp(low, high) * advantages_N1
    )
    shares = {
        "clip_low": (ratio_NT < low) & (advantages_N1 < 0),
        "clip_high": (ratio_NT > high) & (advantages_N1 > 0),
    }
    if delta is not None:
        shares["clip_delta"] = (ratio_NT > delta) & (advantages_N1 < 0)
    return Clipped(objective_NT, shares)


def dual_clip(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs | None = None,
    *,
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    floor: float = 3.0,
) -> Clipped:
    """``clip_ratio`` with a floor of the objective where A < 0 (arXiv 1912.09729; verl's default).

    objective = max(min(w A, clip(w) A), floor * A) if A < 0, else min(w A, clip(w) A)

    With floor above 1 + epsilon_high it is ``clip_ratio`` with that delta; a smaller floor cuts into
    the region too. Shares as there, and ``clip_floor``: the floor holds. A = 0 gives 0.
    """
    clipped = clip_ratio(
        ratio_NT, advantages_N1, inputs, epsilon=epsilon, epsilon_high=epsilon_high
    )
    lowest_N1 = floor * advantages_N1
    negative_N1 = advantages_N1 < 0
    objective_NT = torch.where(
        negative_N1, torch.maximum(clipped.objective_NT, lowest_N1), clipped.objective_NT
    )
    floored_NT = negative_N1 & (clipped.objective_NT < lowest_N1)
    return Clipped(objective_NT, {**clipped.shares, "clip_floor": floored_NT})


def clip_off_policy(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    threshold: float = 0.5,
    drift: Literal["current", "old"] = "current",
    epsilon: float = 0.2,
    epsilon_high: float | None = None,
    delta: float | None = None,
) -> Clipped:
    """``clip_ratio`` without bad completions that the policy has left (DeepSeek-V3.2, arXiv 2512.02556).

    A row counts if A >= 0 or 1/L_i sum_t (log pi_sampler - log pi) <= threshold. Where the sampler's
    log-probs are not known, those of the old policy stand for them. A row that does not count adds 0
    and stays in every denominator. ``drift`` current measures the policy as it is now, inner steps
    included (TRL); old measures the mismatch of sampler and trainer alone. Share: ``off_policy``,
    tokens of such rows.
    """
    sampler_NT = inputs.sampler_logprobs_NT
    start_NT = inputs.old_logprobs_NT if sampler_NT is None else sampler_NT
    mask_NT = inputs.mask_NT
    now_NT = inputs.logprobs_NT.detach() if drift == "current" else inputs.old_logprobs_NT
    gap_NT = (start_NT - now_NT) * mask_NT
    gap_N1 = gap_NT.sum(-1, keepdim=True) / mask_NT.sum(-1, keepdim=True).clamp(min=1)
    left_N1 = (advantages_N1 < 0) & (gap_N1 > threshold)
    clipped = clip_ratio(
        ratio_NT, advantages_N1, epsilon=epsilon, epsilon_high=epsilon_high, delta=delta
    )
    shares = {**clipped.shares, "off_policy": left_N1.expand_as(ratio_NT)}
    return Clipped(clipped.objective_NT.masked_fill(left_N1, 0.0), shares)

"""Axis ``clip``: the trust region, by clipping the ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from grpokit.algorithms.axes import Clipped
from grpokit.spec.flow import LossInputs

__all__ = ["clip_ratio"]


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

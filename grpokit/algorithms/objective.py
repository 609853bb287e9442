"""Axis ``clip``: objectives that soften, detach or average the ratio where PPO cuts it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from grpokit.algorithms.axes import Clipped
from grpokit.algorithms.ratio import LIMIT
from grpokit.spec.flow import LossInputs

__all__ = ["cispo", "gmpo", "sapo", "vespo"]


def cispo(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    cap: float = 5.0,
    floor: float | None = None,
) -> Clipped:
    """REINFORCE with a bounded, detached ratio as weight: every token keeps a gradient.

    objective = sg[clip(w, floor, cap)] * A * log pi (CISPO, MiniMax-M1, arXiv 2506.13585)

    Bounds are of the ratio itself. TRL has a cap only (its ``epsilon_high``); verl takes
    [1 - epsilon, 1 + epsilon_high]. Shares: ``clip_high``, ``clip_low``. A = 0 gives 0.
    """
    weight_NT = ratio_NT.clamp(min=floor, max=cap).detach()
    shares = {"clip_high": ratio_NT > cap}
    if floor is not None:
        shares["clip_low"] = ratio_NT < floor
    return Clipped(weight_NT * advantages_N1 * inputs.logprobs_NT, shares)


def sapo(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs | None = None,
    *,
    temperature_pos: float = 1.0,
    temperature_neg: float = 1.05,
) -> Clipped:
    """A soft gate instead of a clip (SAPO, arXiv 2511.20347).

    objective = 4/t sigmoid(t (w - 1)) A, with t = temperature_pos where A > 0, else temperature_neg

    At w = 1 the gradient is that of w A; it fades smoothly on both sides, faster for a larger t. The
    value at w = 1 is 2/t A, not A. No token is cut, so there are no shares. A = 0 gives 0.
    """
    del inputs
    temperature_N1 = _choose(advantages_N1 > 0, temperature_pos, temperature_neg, ratio_NT)
    gate_NT = torch.sigmoid(temperature_N1 * (ratio_NT - 1)) * 4 / temperature_N1
    return Clipped(gate_NT * advantages_N1, {})


def gmpo(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    low: float = 0.4,
    high: float = 0.4,
) -> Clipped:
    """The geometric mean of token ratios, each clipped before (GMPO, arXiv 2507.20673).

    objective_i = A exp(1/L_i sum_t c_it), c = min(l, clip(l, -low, high)) where A > 0, else
    max(l, clip(l, -low, high)), with l = log pi - log pi_old

    Ranges are of the logarithm. Every token of a row has the row's value, so with ``sequence-mean``
    it is the paper's loss. Takes the log-probs, so the axis ``ratio`` does not matter to it. TRL and
    verl agree, but TRL counts a row without tokens as ratio 1, a constant without gradient. Shares as
    in ``clip``. A = 0 gives 0.
    """
    log_NT = inputs.logprobs_NT - inputs.old_logprobs_NT
    bounded_NT = log_NT.clamp(-low, high)
    kept_NT = torch.where(
        advantages_N1 > 0, torch.minimum(log_NT, bounded_NT), torch.maximum(log_NT, bounded_NT)
    )
    length_N1 = inputs.mask_NT.sum(-1, keepdim=True).clamp(min=1)
    mean_N1 = (kept_NT * inputs.mask_NT).sum(-1, keepdim=True) / length_N1
    shares = {
        "clip_low": (log_NT < -low) & (advantages_N1 < 0),
        "clip_high": (log_NT > high) & (advantages_N1 > 0),
    }
    return Clipped((mean_N1.clamp(max=LIMIT).exp() * advantages_N1).expand_as(ratio_NT), shares)


def vespo(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    k_pos: float = 2.0,
    lambda_pos: float = 3.0,
    k_neg: float = 3.0,
    lambda_neg: float = 2.0,
) -> Clipped:
    """REINFORCE weighted by a gamma shape of the whole completion's ratio (VESPO, arXiv 2602.10693; as TRL has it).

    objective = sg[phi(W)] * A * log pi, phi(W) = e^lambda W^k e^(-lambda W), W = prod_t w_t

    phi(1) = 1, and phi falls to 0 on both sides. k and lambda go by the sign of A (A = 0 counts as
    positive). log w_t is bounded at +-20, log W at [log 1e-8, 20]. No shares. A = 0 gives 0.
    """
    with torch.no_grad():
        log_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).clamp(-20, 20)
        log_N1 = (log_NT * inputs.mask_NT).sum(-1, keepdim=True).clamp(math.log(1e-8), 20)
        k_N1 = _choose(advantages_N1 >= 0, k_pos, k_neg, ratio_NT)
        lambda_N1 = _choose(advantages_N1 >= 0, lambda_pos, lambda_neg, ratio_NT)
        phi_N1 = (lambda_N1 + k_N1 * log_N1 - lambda_N1 * log_N1.exp()).exp()
    return Clipped(phi_N1 * advantages_N1 * inputs.logprobs_NT, {})


def _choose(condition_N1: Tensor, yes: float, no: float, like: Tensor) -> Tensor:
    """``torch.where`` of two numbers would round them to float32."""
    return torch.where(condition_N1, like.new_tensor(yes), like.new_tensor(no))

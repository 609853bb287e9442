"""Axis ``ratio``: how much likelier the policy makes a token than the policy that sampled it.

With one optimiser step a rollout batch every ratio is exactly 1 and only its gradient matters; GRPO
and GSPO then have the same gradient. They differ from the second step on.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["sequence_ratio", "token_ratio"]


def token_ratio(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Each token by itself (PPO, arXiv 1707.06347; GRPO, arXiv 2402.03300).

    w_it = exp(log pi(o_it) - log pi_old(o_it)).
    """
    del mask_NT
    return log_ratio_NT.exp()


def sequence_ratio(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """One value a completion: the geometric mean of its tokens' ratios (GSPO, arXiv 2507.18071).

    s_i = exp(1/L_i * sum_t log w_it). A row without a token gets 1.
    """
    length_N1 = mask_NT.sum(-1, keepdim=True).clamp(min=1)
    mean_N1 = (log_ratio_NT * mask_NT).sum(-1, keepdim=True) / length_N1
    return mean_N1.exp().expand_as(log_ratio_NT)

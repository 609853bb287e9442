"""Axis ``ratio``: how much likelier the policy makes a token than the policy that sampled it.

With one optimiser step a rollout batch every ratio is exactly 1 and only its gradient matters; GRPO
and GSPO then have the same gradient. They differ from the second step on.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["LIMIT", "sequence_ratio", "sequence_token_ratio", "token_ratio"]

LIMIT = 60.0
"""Largest logarithm of a ratio. Beyond it the ratio stays at e^60, finite in float32, without
gradient: an infinite one times a gradient of 0 would be no number."""


def token_ratio(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Each token by itself (PPO, arXiv 1707.06347; GRPO, arXiv 2402.03300).

    w_it = exp(log pi(o_it) - log pi_old(o_it)), at most e^LIMIT (verl bounds the logarithm at 20).
    """
    del mask_NT
    return log_ratio_NT.clamp(max=LIMIT).exp()


def sequence_ratio(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """One value a completion: the geometric mean of its tokens' ratios (GSPO, arXiv 2507.18071).

    s_i = exp(1/L_i * sum_t log w_it). A row without a token gets 1.
    """
    return _mean(log_ratio_NT, mask_NT).exp().expand_as(log_ratio_NT)


def sequence_token_ratio(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """The sequence's value with each token's own gradient (GSPO-token, arXiv 2507.18071).

    s_it = sg[s_i] * w_it / sg[w_it], sg the stopped gradient. In value it is ``sequence_ratio``, and
    with one advantage a completion its gradient is the same too, under the means over a row's tokens.
    It differs where tokens of a completion have advantages or weights of their own.
    """
    own_NT = log_ratio_NT - log_ratio_NT.detach()
    return (_mean(log_ratio_NT, mask_NT).detach() + own_NT).exp()


def _mean(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    length_N1 = mask_NT.sum(-1, keepdim=True).clamp(min=1)
    return ((log_ratio_NT * mask_NT).sum(-1, keepdim=True) / length_N1).clamp(max=LIMIT)

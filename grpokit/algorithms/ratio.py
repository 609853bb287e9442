"""Axis ``ratio``: how much likelier the policy makes a token than the policy that sampled it.

With one optimiser step a rollout batch every ratio is exactly 1 and only its gradient matters; GRPO
and GSPO then have the same gradient. They differ from the second step on.

Each bounds the logarithm: above ``log_max``, and below ``log_min`` where there is one, the ratio stays
where it is, without gradient. TRL has no bounds. verl has -20 and 20, and for GSPO 10 above.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["LIMIT", "sequence_product", "sequence_ratio", "sequence_token_ratio", "token_ratio"]

LIMIT = 60.0
"""Largest logarithm of a ratio, unless told otherwise. e^60 is finite in float32; an infinite ratio
times a gradient of 0 would be no number."""


def token_ratio(
    log_ratio_NT: Tensor, mask_NT: Tensor, *, log_max: float = LIMIT, log_min: float | None = None
) -> Tensor:
    """Each token by itself (PPO, arXiv 1707.06347; GRPO, arXiv 2402.03300).

    w_it = exp(log pi(o_it) - log pi_old(o_it)).
    """
    del mask_NT
    return log_ratio_NT.clamp(log_min, log_max).exp()


def sequence_ratio(
    log_ratio_NT: Tensor, mask_NT: Tensor, *, log_max: float = LIMIT, log_min: float | None = None
) -> Tensor:
    """One value a completion: the geometric mean of its tokens' ratios (GSPO, arXiv 2507.18071).

    s_i = exp(1/L_i * sum_t log w_it). A row without a token gets 1.
    """
    return _mean(log_ratio_NT, mask_NT).clamp(log_min, log_max).exp().expand_as(log_ratio_NT)


def sequence_token_ratio(
    log_ratio_NT: Tensor, mask_NT: Tensor, *, log_max: float = LIMIT, log_min: float | None = None
) -> Tensor:
    """The sequence's value with each token's own gradient (GSPO-token, arXiv 2507.18071).

    s_it = sg[s_i] * w_it / sg[w_it], sg the stopped gradient. In value it is ``sequence_ratio``, and
    with one advantage a completion its gradient is the same too, under the means over a row's tokens.
    It differs where tokens of a completion have advantages or weights of their own.
    """
    own_NT = log_ratio_NT - log_ratio_NT.detach()
    return (_mean(log_ratio_NT, mask_NT).detach() + own_NT).clamp(log_min, log_max).exp()


def sequence_product(
    log_ratio_NT: Tensor, mask_NT: Tensor, *, log_max: float = LIMIT, log_min: float | None = None
) -> Tensor:
    """One value a completion: the product of its tokens' ratios, the completion's true ratio.

    W_i = exp(sum_t log w_it), as in TRL's RLOO. It leaves any clip range far sooner than the geometric
    mean, and the sooner the longer the completion. A row without a token gets 1.
    """
    log_N1 = (log_ratio_NT * mask_NT).sum(-1, keepdim=True)
    return log_N1.clamp(log_min, log_max).exp().expand_as(log_ratio_NT)


def _mean(log_ratio_NT: Tensor, mask_NT: Tensor) -> Tensor:
    length_N1 = mask_NT.sum(-1, keepdim=True).clamp(min=1)
    return (log_ratio_NT * mask_NT).sum(-1, keepdim=True) / length_N1

"""What an algorithm with a critic needs: advantages a token, and the critic's loss.

Pure functions only. No backend has a value head yet, so no algorithm is made of these.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "clipped_value_loss",
    "generalised_advantages",
    "length_adaptive_lambda",
    "whiten_tokens",
]


def generalised_advantages(
    rewards_NT: Tensor,
    values_NT: Tensor,
    mask_NT: Tensor,
    *,
    gamma: float = 1.0,
    lam: float | Tensor = 0.95,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: advantages_NT and returns_NT (arXiv 1506.02438).

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lam A_{t+1};  R_t = A_t + V_t

    ``lam`` is a number or lam_N. V and A are 0 after the last token. Masked tokens, also in the
    middle (what a tool said), are jumped over: t + 1 is the next token that counts. Both results
    are 0 there, and nothing in them reaches the others, not even an infinity. Not whitened. No
    gradient. Degenerate: a row without tokens is 0; lam 1 gives the return less the value; lam 0
    the error of one step.
    """
    keep_NT = mask_NT.bool()
    rewards_NT = rewards_NT.detach().masked_fill(~keep_NT, 0.0)
    values_NT = values_NT.detach().masked_fill(~keep_NT, 0.0)
    after_N = torch.zeros_like(values_NT[:, 0])
    next_N = torch.zeros_like(after_N)
    advantages_NT = torch.zeros_like(values_NT)
    for t in reversed(range(values_NT.shape[1])):
        delta_N = rewards_NT[:, t] + gamma * next_N - values_NT[:, t]
        after_N = torch.where(keep_NT[:, t], delta_N + gamma * lam * after_N, after_N)
        next_N = torch.where(keep_NT[:, t], values_NT[:, t], next_N)
        advantages_NT[:, t] = after_N
    advantages_NT = advantages_NT.masked_fill(~keep_NT, 0.0)
    return advantages_NT, advantages_NT + values_NT


def whiten_tokens(values_NT: Tensor, mask_NT: Tensor, *, variance_eps: float = 1e-8) -> Tensor:
    """Mean 0 and variance 1 over all tokens that count, 0 elsewhere.

    (x - mean) / sqrt(var + variance_eps), var over n - 1. Degenerate: one token, or none, gives 0.
    """
    keep_NT = mask_NT.bool()
    kept = values_NT[keep_NT]
    if kept.numel() < 2:
        return torch.zeros_like(values_NT)
    white_NT = (values_NT - kept.mean()) / (kept.var() + variance_eps).sqrt()
    return torch.where(keep_NT, white_NT, 0.0)


def length_adaptive_lambda(lengths_N: Tensor, *, alpha: float = 0.05) -> Tensor:
    """lam_N for ``generalised_advantages`` from the length of a completion (VAPO, arXiv 2504.05118).

    lam = 1 - 1 / (alpha L), so that the sum of its powers grows with the length. Degenerate: below
    L = 1 / alpha it would be negative and is 0.
    """
    return (1 - 1 / (alpha * lengths_N.clamp(min=1))).clamp(min=0.0)


def clipped_value_loss(
    values_NT: Tensor,
    old_values_NT: Tensor,
    returns_NT: Tensor,
    mask_NT: Tensor,
    *,
    clip: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """The critic's loss as a mean over tokens, and the share of tokens clipped (arXiv 1707.06347).

    l_t = 1/2 max((V_t - R_t)^2, (clip(V_t, V_old - c, V_old + c) - R_t)^2)

    A value can't move by more than c from the old one and be paid for it. Degenerate: without
    tokens both are 0, and so is the gradient.
    """
    keep_NT = mask_NT.bool()
    values_NT = values_NT.masked_fill(~keep_NT, 0.0)
    old_NT = old_values_NT.masked_fill(~keep_NT, 0.0)
    returns_NT = returns_NT.masked_fill(~keep_NT, 0.0)
    near_NT = torch.minimum(torch.maximum(values_NT, old_NT - clip), old_NT + clip)
    free_NT, held_NT = (values_NT - returns_NT).square(), (near_NT - returns_NT).square()
    count = keep_NT.sum().clamp(min=1)
    loss_NT = torch.where(keep_NT, torch.maximum(free_NT, held_NT), 0.0)
    share = ((held_NT > free_NT) & keep_NT).sum() / count
    return 0.5 * loss_NT.sum() / count, share

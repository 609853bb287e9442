"""Axis ``correction``: the sampler's log-probs are not quite the trainer's.

A fast sampler computes in other kernels and number formats than the trainer, which makes training
slightly off-policy even in the first optimiser step. The weight multiplies the policy term only and
carries no gradient.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["no_correction", "truncated_weight"]


def no_correction(
    old_logprobs_NT: Tensor, sampler_logprobs_NT: Tensor | None, mask_NT: Tensor
) -> Tensor | None:
    """The mismatch is left alone."""
    del old_logprobs_NT, sampler_logprobs_NT, mask_NT
    return None


def truncated_weight(
    old_logprobs_NT: Tensor,
    sampler_logprobs_NT: Tensor | None,
    mask_NT: Tensor,
    *,
    cap: float = 2.0,
) -> Tensor | None:
    """Truncated importance sampling by token (TIS; Yao and others, 2025).

    weight_it = min(pi_old / pi_sampler, cap). Exactly 1 where sampler and trainer agree.
    """
    del mask_NT
    if sampler_logprobs_NT is None:
        raise ValueError("the truncated correction was given no log-probs of the sampler")
    return (old_logprobs_NT - sampler_logprobs_NT).exp().clamp(max=cap).detach()

"""Axis ``correction``: the sampler's log-probs are not quite the trainer's.

A fast sampler computes in other kernels and number formats than the trainer, which makes training
slightly off-policy even in the first optimiser step. The weight multiplies the policy term only and
carries no gradient.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from grpokit.spec.flow import LossInputs

__all__ = ["Rejection", "importance_weight", "no_correction", "truncated_weight"]

LIMIT = 60.0
"""Largest logarithm of a weight before it is cut: e^60 is finite in float32."""


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


def importance_weight(
    old_logprobs_NT: Tensor,
    sampler_logprobs_NT: Tensor | None,
    mask_NT: Tensor,
    *,
    level: Literal["token", "sequence"] = "token",
    cut: Literal["truncate", "mask"] = "mask",
    cap: float | None = 2.0,
    floor: float | None = None,
) -> Tensor | None:
    """Importance weight of a token or of the whole completion, truncated or masked outside bounds.

    rho = pi_old / pi_sampler of the token, or the product over the completion's tokens
    truncate: min(max(rho, floor), cap) (TIS). mask: rho where floor <= rho <= cap, else 0 (MIS;
    IcePop is the token level with [0.5, 5]).

    TRL's default masks sequences at 3. Exactly 1 where sampler and trainer agree. A None bound is off.
    """
    if sampler_logprobs_NT is None:
        raise ValueError("the correction was given no log-probs of the sampler")
    log_NT = (old_logprobs_NT - sampler_logprobs_NT).detach() * mask_NT
    if level == "sequence":
        log_NT = log_NT.sum(-1, keepdim=True).expand_as(log_NT)
    weight_NT = log_NT.clamp(max=LIMIT).exp()
    if cut == "truncate":
        return weight_NT if cap is None and floor is None else weight_NT.clamp(floor, cap)
    if cap is not None:
        weight_NT = weight_NT.masked_fill(weight_NT > cap, 0.0)
    return weight_NT if floor is None else weight_NT.masked_fill(weight_NT < floor, 0.0)


@dataclass(frozen=True)
class Rejection:
    """``importance_weight`` with cut mask, where what is outside the bounds leaves the denominators too.

    As in verl's rejection a rejected token is masked: its divergence does not count either, and the
    means are over what is left. Lengths of rows shrink exactly. The rows and tokens of the step shrink by
    the share that is left in the micro-batch, because the others are not known there: exact where the
    step is one micro-batch. TRL keeps the denominators, as ``importance_weight`` alone does.
    """

    level: Literal["token", "sequence"]
    cap: float | None = 2.0
    floor: float | None = None

    def __call__(
        self, old_logprobs_NT: Tensor, sampler_logprobs_NT: Tensor | None, mask_NT: Tensor
    ) -> Tensor | None:
        return importance_weight(
            old_logprobs_NT,
            sampler_logprobs_NT,
            mask_NT,
            level=self.level,
            cap=self.cap,
            floor=self.floor,
        )

    def shrink(self, inputs: LossInputs, *, rows: bool) -> LossInputs:
        """The inputs without rejected tokens; ``rows``: rows that have none left do not count."""
        before_NT = inputs.mask_NT
        weight_NT = self(inputs.old_logprobs_NT, inputs.sampler_logprobs_NT, before_NT)
        assert weight_NT is not None
        after_NT = before_NT * (weight_NT > 0)
        totals = dataclasses.replace(
            inputs.totals, tokens=_left(inputs.totals.tokens, before_NT, after_NT)
        )
        if rows:
            any_before_N, any_after_N = before_NT.amax(-1), after_NT.amax(-1)
            totals = dataclasses.replace(totals, rows=_left(totals.rows, any_before_N, any_after_N))
        return dataclasses.replace(inputs, mask_NT=after_NT, totals=totals)


def _left(total: int, before: Tensor, after: Tensor) -> int:
    """The share of a total that is left, to the nearest whole."""
    return round(total * float(after.sum()) / max(float(before.sum()), 1.0))

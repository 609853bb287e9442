"""Axis ``clip``: objectives that treat the tokens apart that cost the policy most of its entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from grpokit.algorithms.axes import Clipped
from grpokit.algorithms.ratio import LIMIT
from grpokit.spec.flow import LossInputs

__all__ = ["kl_cov"]


def kl_cov(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    share: float = 0.0002,
    coefficient: float = 1.0,
) -> Clipped:
    """No clip, but a penalty on the few tokens of largest covariance (KL-Cov, arXiv 2505.22617).

    objective = w A - coefficient |log pi - log pi_old| on the chosen tokens, else w A
    chosen    = the max(1, floor(share n)) of n tokens with the largest (A - mean A)(log pi - mean log pi)

    Means and choice are those of the micro-batch, so the result depends on how the step is split, as
    in verl. Rows of advantage 0 count in means and choice but get no penalty, since their forward may
    be left out (verl penalises them). Share: ``covariant``, chosen tokens.
    """
    mask_NT = inputs.mask_NT
    with torch.no_grad():
        count = int(mask_NT.sum())
        tokens = max(count, 1)
        advantage_mean = (advantages_N1 * mask_NT).sum() / tokens
        logprob_mean = (inputs.logprobs_NT * mask_NT).sum() / tokens
        cov_NT = (advantages_N1 - advantage_mean) * (inputs.logprobs_NT - logprob_mean)
        ranked_NT = cov_NT.masked_fill(mask_NT == 0, -torch.inf)
        chosen = ranked_NT.flatten().topk(min(count, max(1, int(count * share)))).indices
        marked_NT = torch.zeros_like(mask_NT).flatten().index_fill(0, chosen, 1.0).view_as(mask_NT)
    gap_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).clamp(-LIMIT, LIMIT).abs()
    penalty_NT = coefficient * gap_NT * marked_NT * (advantages_N1 != 0)
    return Clipped(ratio_NT * advantages_N1 - penalty_NT, {"covariant": marked_NT})

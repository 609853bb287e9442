"""Parts of GPG: a policy gradient without ratio, and its scale (arXiv 2504.02546)."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.advantage import group_centred
from grpokit.algorithms.axes import Clipped
from grpokit.algorithms.loss_config import GpgScaleConfig
from grpokit.spec.flow import LossInputs

__all__ = ["gpg_scale", "log_prob", "plain_gradient", "scaled_centred"]


def scaled_centred(
    totals_PG: Tensor,
    valid_PG: Tensor,
    *,
    nonzero: Literal["advantages", "rewards"] = "advantages",
) -> Tensor:
    """Distance from the group's mean, times completions by completions that count (arXiv 2504.02546).

    A_i = N / M (r_i - mean r), N the batch's valid completions

    M is the number of completions whose group has unequal totals (``advantages``, the paper's), or whose
    total is not 0 (``rewards``, as verl has it: a batch of right answers is then not scaled, and a
    penalty counts like a success). Degenerate: with M = 0 it is 1.
    """
    centred_PG = group_centred(totals_PG, valid_PG)
    counts_PG = totals_PG != 0 if nonzero == "rewards" else (centred_PG != 0).any(-1, keepdim=True)
    counted = (counts_PG & valid_PG).sum().clamp(min=1)
    return centred_PG * (valid_PG.sum() / counted).to(centred_PG.dtype)


def plain_gradient(ratio_NT: Tensor, advantages_N1: Tensor, inputs: LossInputs) -> Clipped:
    """REINFORCE: objective = A log pi, whatever the ratio. No shares. A = 0 gives 0."""
    del ratio_NT
    return Clipped(advantages_N1 * inputs.logprobs_NT, {})


def gpg_scale(config: GpgScaleConfig) -> axes.Advantage:
    return partial(scaled_centred, nonzero=config.nonzero)


def log_prob() -> axes.Clip:
    return plain_gradient

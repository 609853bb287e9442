"""Parts of QRPO: rewards as quantiles, and the regression on them (arXiv 2507.08068)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.axes import Clipped
from grpokit.algorithms.quantile_config import QuantileConfig, RegressionConfig
from grpokit.errors import ComponentError
from grpokit.spec.flow import Advantages, LossInputs, Rollout, Scores, Selection

__all__ = [
    "COLUMN",
    "Quantile",
    "Regression",
    "beta_log_partition",
    "keep_scored",
    "quantile",
    "quantile_rewards",
    "regression",
    "regression_loss",
    "scored",
]

COLUMN = "ref_rewards"
"""Column with the rewards of reference completions of a row."""


def quantile_rewards(totals_PG: Tensor, valid_PG: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The share of the other rewards that a completion reaches: R_i = mean_j 1[r_j <= r_i].

    ``others`` has one vector of rewards a group. Invalid rows get 0.
    """
    found = [
        (reward_J <= total_G.unsqueeze(-1)).to(totals_PG.dtype).mean(-1)
        for total_G, reward_J in zip(totals_PG, others, strict=True)
    ]
    return torch.where(valid_PG, torch.stack(found), 0.0)


@dataclass
class Quantile:
    """``quantile_rewards`` against the column ``ref_rewards`` of the data set row, or against the group.

    Against the group each of its valid completions counts, the completion itself too.

    Raises:
        ComponentError: a row has no such column, or something else than numbers in it.
    """

    against: Literal["group", "column"] = "group"
    needs_rollout: bool = True

    def __call__(self, totals_PG: Tensor, valid_PG: Tensor, rollout: Rollout, /) -> Tensor:
        if self.against == "column":
            others = [_reference(prompt.row, prompt.index, totals_PG) for prompt in rollout.prompts]
        else:
            others = [
                total_G[valid_G] if bool(valid_G.any()) else total_G
                for total_G, valid_G in zip(totals_PG, valid_PG, strict=True)
            ]
        return quantile_rewards(totals_PG, valid_PG, others)


def _reference(row: Any, index: int, like: Tensor) -> Tensor:
    values = row.get(COLUMN)
    good = isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )
    if good and values:
        return like.new_tensor([float(value) for value in values])
    fact = "no" if values is None else f"{type(values).__name__} in"
    raise ComponentError(
        f"the quantile of a reward needs a list of numbers, and there is {fact} column `{COLUMN}`",
        place=f"data set row {index}",
        remedy=f"map a column to {COLUMN} with the rewards of completions of the reference policy, "
        "or set against: group",
    )


def keep_scored(rollout: Rollout, scores: Scores, advantages: Advantages) -> Selection:
    """Every completion with a score, also those of advantage 0: an objective may move them all."""
    del scores
    valid_PG: list[list[bool]] = advantages.valid_PG.tolist()
    rows = tuple((p, g) for p, g in rollout.rows() if valid_PG[p][g])
    return Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))


def beta_log_partition(beta: float, *, exact: bool = True) -> float:
    """Beta log Z for quantile rewards, which are uniform under the reference: Z = beta (e^(1/beta) - 1).

    Not ``exact``: log Z = log beta + 1/beta, as the authors compute it; good below beta 0.1 (0.769741
    for 0.769737), wrong at 1 (1 for 0.541325).
    """
    correction = math.log1p(-math.exp(-1 / beta)) if exact else 0.0
    return beta * (math.log(beta) + correction) + 1


def regression_loss(
    ratio_NT: Tensor,
    advantages_N1: Tensor,
    inputs: LossInputs,
    *,
    beta: float = 0.003,
    exact: bool = True,
) -> Clipped:
    """The squared distance of a completion's reward from what its probability says (QRPO).

    objective_i = -(A_i - beta log Z - beta sum_t (log pi - log pi_ref))^2

    The advantage is the quantile reward. Where the square is 0 the policy is the optimum of the reward
    under a divergence of weight beta. Every token of a row has the row's value, so with
    ``sequence-mean`` it is the paper's loss. Rows of advantage 0 count like any other. The axis
    ``ratio`` does not matter. A row without a token has a constant.
    """
    if inputs.ref_logprobs_NT is None:
        raise ValueError("the regression was given no log-probs of the reference policy")
    log_NT = (inputs.logprobs_NT - inputs.ref_logprobs_NT) * inputs.mask_NT
    log_N1 = log_NT.sum(-1, keepdim=True)
    gap_N1 = advantages_N1 - beta_log_partition(beta, exact=exact) - beta * log_N1
    return Clipped(-gap_N1.square().expand_as(ratio_NT), {})


@dataclass(frozen=True)
class Regression:
    """``regression_loss``, which needs the reference and trains rows of advantage 0 too."""

    beta: float = 0.003
    exact: bool = True
    needs_reference: bool = True
    zero_moves: bool = True

    def __call__(self, ratio_NT: Tensor, advantages_N1: Tensor, inputs: LossInputs, /) -> Clipped:
        return regression_loss(ratio_NT, advantages_N1, inputs, beta=self.beta, exact=self.exact)


def quantile(config: QuantileConfig) -> axes.RolloutAdvantage:
    return Quantile(config.against)


def regression(config: RegressionConfig) -> axes.Clip:
    return Regression(config.beta, config.log_partition == "exact")


def scored() -> axes.Select:
    return keep_scored

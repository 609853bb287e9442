"""Axis ``aggregation``: from a loss a token to one number.

Each function returns the micro-batch's share: denominators are those of the whole optimiser step,
so that shares of any split add up to the same loss. ``token_mean_local`` is the exception by
definition. weights_N multiplies rows; mask_NT is 1 on tokens that count. A row without such a token
adds 0; whether the row means count it, says ``totals.rows`` (``empty_rows`` of the named algorithms).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from grpokit.spec.flow import LossTotals

__all__ = ["constant_length", "sequence_mean", "sequence_sum", "token_mean", "token_mean_local"]


def sequence_mean(
    loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals
) -> Tensor:
    """Mean over rows of the mean over a row's tokens (GRPO, arXiv 2402.03300).

    1/rows * sum_i 1/L_i * sum_t l_it. A token of a short completion weighs more than one of a long.
    """
    length_N = mask_NT.sum(-1).clamp(min=1)
    rows_N = (loss_NT * mask_NT).sum(-1) / length_N
    return (rows_N * weights_N).sum() / max(totals.rows, 1)


def sequence_sum(loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals) -> Tensor:
    """Mean over rows of the sum over a row's tokens: a row weighs as much as it is long.

    1/rows * sum_i sum_t l_it. With ``sequence-ratio`` it is LUSPO (arXiv 2602.05261; as TRL has it):
    GSPO times the length. verl calls it ``seq-mean-token-sum``.
    """
    return _weighted_sum(loss_NT, mask_NT, weights_N) / max(totals.rows, 1)


def token_mean(loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals) -> Tensor:
    """Mean over all tokens of the step (DAPO, arXiv 2503.14476): every token weighs the same.

    sum_i sum_t l_it / sum_i L_i over the whole optimiser step.
    """
    return _weighted_sum(loss_NT, mask_NT, weights_N) / max(totals.tokens, 1)


def token_mean_local(
    loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor, totals: LossTotals
) -> Tensor:
    """Mean over the tokens of each micro-batch, then over rows: ``loss_type="bnpo"`` elsewhere.

    N/rows * sum l / sum L, both over the micro-batch of N rows. The result depends on how the step
    is split; with one row a micro-batch it is the sequence mean. Not the BNPO of arXiv 2506.02864.
    """
    mean = _weighted_sum(loss_NT, mask_NT, weights_N) / mask_NT.sum().clamp(min=1)
    return mean * (mask_NT.shape[0] / max(totals.rows, 1))


def constant_length(
    loss_NT: Tensor,
    mask_NT: Tensor,
    weights_N: Tensor,
    totals: LossTotals,
    *,
    denominator: Literal["rows-and-length", "length"] = "rows-and-length",
) -> Tensor:
    """Sum over tokens by a constant length (Dr. GRPO, arXiv 2503.20783): no length bias.

    sum_i sum_t l_it / (rows * L_max), with L_max the length limit of the rollout (TRL, verl 0.9.1).
    Denominator ``length``: sum_i sum_t l_it / L_max, so that the loss grows with the batch (verl until
    January 2026).
    """
    rows = totals.rows if denominator == "rows-and-length" else 1
    return _weighted_sum(loss_NT, mask_NT, weights_N) / max(rows * totals.max_tokens, 1)


def _weighted_sum(loss_NT: Tensor, mask_NT: Tensor, weights_N: Tensor) -> Tensor:
    return ((loss_NT * mask_NT).sum(-1) * weights_N).sum()

"""The next token of each row. Each row has its own random numbers, drawn before the first token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from grpokit.api import Sampling

__all__ = ["draw", "keep_likely", "pick", "row_uniforms"]

BLOCK = 256


def row_uniforms(seeds: Sequence[int], length: int) -> Tensor:
    """uniforms_NT in [0, 1), float32: row n's numbers follow from ``seeds[n]`` alone."""
    table = torch.empty(len(seeds), length)
    for row, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        table[row] = torch.rand(length, generator=generator)
    return table


def pick(
    logits_DV: Tensor, uniforms_N: Tensor, sampling: Sampling, place_N: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Tokens tokens_N and their log-probabilities logprobs_N.

    Row n draws from the logits at ``place_N[n]`` of D; without places, from those at n.

    The log-probability belongs to ``logits / temperature`` before any token is cut off, which is
    what training computes again. Greedy (temperature 0) takes the likeliest token and reports it
    at temperature 1.
    """
    logits_DV = logits_DV.float()
    if place_N is None:
        place_N = torch.arange(len(logits_DV), device=logits_DV.device)
    if sampling.temperature == 0.0:
        chosen_D, token_D = logits_DV.max(dim=-1)
        return token_D[place_N], (chosen_D - logits_DV.logsumexp(dim=-1))[place_N]
    if sampling.temperature != 1.0:
        logits_DV = logits_DV / sampling.temperature
    cut_DV = keep_likely(logits_DV, sampling)
    top_D1 = cut_DV.amax(dim=-1, keepdim=True)
    token_N, total_D = draw((cut_DV - top_D1).exp_(), uniforms_N, place_N)
    # where nothing was cut off, the sum is known
    norm_D = top_D1[:, 0] + total_D.log() if cut_DV is logits_DV else logits_DV.logsumexp(dim=-1)
    return token_N, logits_DV[place_N, token_N] - norm_D[place_N]


def keep_likely(logits_NV: Tensor, sampling: Sampling) -> Tensor:
    """Sets what top-k, top-p and min-p cut off to minus infinity, in this order.

    Top-k keeps ties with the k-th. Top-p keeps the smallest set whose share reaches p, always the
    likeliest token. Min-p drops tokens below that share of the likeliest one's probability.
    """
    cut = float("-inf")
    if 0 < sampling.top_k < logits_NV.shape[-1]:
        least_N1 = logits_NV.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < least_N1, cut)
    if sampling.top_p < 1.0:
        ordered_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
        share_NV = ordered_NV.softmax(dim=-1)
        before_NV = share_NV.cumsum(dim=-1) - share_NV
        drop_NV = before_NV >= sampling.top_p
        drop_NV[:, 0] = False
        logits_NV = logits_NV.masked_fill(
            torch.zeros_like(drop_NV).scatter(1, order_NV, drop_NV), cut
        )
    if sampling.min_p > 0.0:
        floor_N1 = logits_NV.amax(dim=-1, keepdim=True) + torch.tensor(sampling.min_p).log()
        logits_NV = logits_NV.masked_fill(logits_NV < floor_N1, cut)
    return logits_NV


def draw(
    weights_DV: Tensor, uniforms_N: Tensor, place_N: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Inverse CDF over unnormalised weights: the token where the running sum passes u times the total.
    With it, the totals, total_D. Row n draws from the weights at ``place_N[n]`` of D.

    In two stages, over blocks of 256 tokens and then inside the block: one pass over the
    vocabulary instead of a long running sum, and smaller rounding errors. A token of weight 0 is
    never drawn.
    """
    rows, vocabulary = weights_DV.shape
    if place_N is None:
        place_N = torch.arange(rows, device=weights_DV.device)
    if vocabulary % BLOCK:
        weights_DV = functional.pad(weights_DV, (0, -vocabulary % BLOCK))
    blocks_DBK = weights_DV.view(rows, -1, BLOCK)
    sums_DB = blocks_DBK.sum(dim=-1, dtype=torch.float32)
    total_D = sums_DB.cumsum(dim=-1)[:, -1]
    sums_NB = sums_DB[place_N]
    running_NB = sums_NB.cumsum(dim=-1)
    block_N1 = passes(running_NB, uniforms_N[:, None] * running_NB[:, -1:])
    before_N1 = running_NB.gather(1, block_N1) - sums_NB.gather(1, block_N1)
    left_N1 = uniforms_N[:, None] * running_NB[:, -1:] - before_N1
    share_N1 = (left_N1 / sums_NB.gather(1, block_N1)).clamp_(0.0, 1.0)
    inside_NK = blocks_DBK[place_N, block_N1[:, 0]].cumsum(-1)
    token_N = (block_N1 * BLOCK + passes(inside_NK, share_N1 * inside_NK[:, -1:]))[:, 0]
    # weights that are NaN lead into the filling
    return token_N.clamp_(max=vocabulary - 1), total_D


def passes(running_NK: Tensor, target_N1: Tensor) -> Tensor:
    """First index whose running sum is above the target; the target is kept below the total."""
    below_N1 = torch.nextafter(running_NK[:, -1:], torch.zeros_like(target_N1))
    found_N1 = torch.searchsorted(running_NK, torch.minimum(target_N1, below_N1), right=True)
    return found_N1.clamp_(max=running_NK.shape[1] - 1)

"""A micro-batch as the algorithm sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grpokit.api import LossInputs, LossTotals
from grpokit_hf.nn.batch import Batch

__all__ = ["loss_inputs"]


def loss_inputs(
    batch: Batch,
    logprobs_M: Tensor,
    entropy_M: Tensor | None,
    old: Mapping[int, Tensor],
    reference: Mapping[int, Tensor],
    totals: LossTotals,
    seed: int = 0,
) -> LossInputs:
    """The micro-batch as the algorithm sees it: N rows, padded to T tokens."""
    mask_NT = batch.mask_NT

    def spread(values_M: Tensor) -> Tensor:
        empty_NT = torch.zeros(mask_NT.shape, dtype=values_M.dtype, device=mask_NT.device)
        return empty_NT.masked_scatter(mask_NT, values_M)

    logprobs_NT = spread(logprobs_M)
    known = [row.sampler_logprobs for row in batch.rows]
    sampler = [values for values in known if values is not None]
    return LossInputs(
        logprobs_NT=logprobs_NT,
        old_logprobs_NT=gathered(batch, old, spread) if old else logprobs_NT.detach(),
        ref_logprobs_NT=gathered(batch, reference, spread) if reference else None,
        sampler_logprobs_NT=batch.padded(sampler) if len(sampler) == len(known) else None,
        entropy_NT=None if entropy_M is None else spread(entropy_M),
        advantages_N=batch.column([row.advantage for row in batch.rows]),
        weights_N=batch.column([row.weight for row in batch.rows]),
        truncated_N=torch.tensor([row.truncated for row in batch.rows], device=mask_NT.device),
        mask_NT=mask_NT.to(logprobs_NT.dtype),
        totals=totals,
        tokens_NT=batch.targets_NT.masked_fill(~mask_NT, 0),
        seed=seed,
    )


def gathered(batch: Batch, table: Mapping[int, Tensor], spread: Any) -> Tensor:
    values: Tensor = spread(torch.cat([table[row.index] for row in batch.rows]))
    return values

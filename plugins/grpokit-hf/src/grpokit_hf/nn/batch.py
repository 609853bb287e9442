"""Rows of a step, cut into optimiser steps and padded micro-batches. Which micro-batches are cut changes
nothing but rounding where a loss looks at tokens and rows alone: it is a sum over fixed denominators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpokit.api import Advantages, Rollout, Selection, derive_seed

__all__ = ["Batch", "Row", "filler", "make_rows", "micro_batches", "minibatches", "to_batch"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One completion with what the update needs to know of it."""

    index: int
    prompt: int
    prompt_ids: tuple[int, ...]
    tokens: tuple[int, ...]
    advantage: float
    weight: float
    truncated: bool
    sampler_logprobs: tuple[float, ...] | None


def filler(token: int) -> Row:
    """A row that counts for nothing: one token after one token."""
    return Row(
        index=-1,
        prompt=-1,
        prompt_ids=(token,),
        tokens=(token,),
        advantage=0.0,
        weight=0.0,
        truncated=False,
        sampler_logprobs=None,
    )


def make_rows(rollout: Rollout, advantages: Advantages, selection: Selection) -> list[Row]:
    """The selected completions in their fixed order."""
    table_PG: list[list[float]] = advantages.advantages_PG.tolist()
    rows = []
    for index, ((p, g), weight) in enumerate(zip(selection.rows, selection.weights, strict=True)):
        completion = rollout.completions[p][g]
        rows.append(
            Row(
                index=index,
                prompt=p,
                prompt_ids=rollout.prompt_ids[p],
                tokens=completion.token_ids,
                advantage=table_PG[p][g],
                weight=weight,
                truncated=completion.finish == "length",
                sampler_logprobs=completion.logprobs,
            )
        )
    return rows


def minibatches(rows: Sequence[Row], count: int, *seed: int | str) -> list[list[Row]]:
    """The rows in ``count`` parts of nearly equal size, drawn by lot; rows of a part keep their order."""
    if count == 1:
        return [list(rows)]
    generator = torch.Generator().manual_seed(derive_seed("minibatches", *seed))
    order: list[int] = torch.randperm(len(rows), generator=generator).tolist()
    parts = [sorted(order[start::count]) for start in range(count)]
    return [[rows[i] for i in part] for part in parts if part]


def micro_batches(
    rows: Sequence[Row], *, limit_rows: int | None, limit_tokens: int, shared: bool
) -> list[list[Row]]:
    """Rows that fit a forward together: at most ``limit_rows``, or ``limit_tokens`` with padding.

    Where rows are padded those of like length go together, the longest first: what does not fit is
    known at once. Where they are packed they keep their order, and with it their groups.
    """
    if not shared:
        rows = sorted(rows, key=lambda row: len(row.prompt_ids) + len(row.tokens), reverse=True)
    parts: list[list[Row]] = []
    for row in rows:
        if parts:
            more = [*parts[-1], row]
            fits = (
                padded_tokens(more, shared=shared) <= limit_tokens
                if limit_rows is None
                else len(more) <= limit_rows
            )
            if fits:
                parts[-1] = more
                continue
        parts.append([row])
    return parts


def padded_tokens(rows: Sequence[Row], *, shared: bool) -> int:
    """Positions that a forward of these rows computes, padding included."""
    if shared:
        prompts = {row.prompt: len(row.prompt_ids) for row in rows}
        return sum(prompts.values()) + sum(len(row.tokens) - 1 for row in rows)
    return len(rows) * max(len(row.prompt_ids) + len(row.tokens) for row in rows)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A micro-batch on its device: N rows, completions padded on the right to T tokens."""

    rows: tuple[Row, ...]
    targets_NT: Tensor
    mask_NT: Tensor

    @property
    def tokens(self) -> int:
        return sum(len(row.tokens) for row in self.rows)

    def padded(self, values: Sequence[Sequence[float] | Tensor]) -> Tensor:
        """One number a token, in the shape of the targets."""
        table_NT = torch.zeros(self.targets_NT.shape)
        for row, value in enumerate(values):
            table_NT[row, : len(value)] = torch.as_tensor(value, dtype=torch.float32)
        return table_NT.to(self.targets_NT.device)

    def column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.targets_NT.device)


def to_batch(rows: Sequence[Row], pad_id: int, device: torch.device, *, least: int = 1) -> Batch:
    """The rows padded to the longest, or to ``least`` columns."""
    longest = max(least, *(len(row.tokens) for row in rows))
    ids = [[*row.tokens, *[pad_id] * (longest - len(row.tokens))] for row in rows]
    mask = [[True] * len(row.tokens) + [False] * (longest - len(row.tokens)) for row in rows]
    return Batch(
        rows=tuple(rows),
        targets_NT=torch.tensor(ids, device=device),
        mask_NT=torch.tensor(mask, device=device),
    )

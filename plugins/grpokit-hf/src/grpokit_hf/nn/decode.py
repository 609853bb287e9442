"""Sampling from a causal transformers model: one prefill a prompt, finished rows leave the batch.

Works with every model that takes ``past_key_values``; models with full attention in each layer
(``plain_decoder``) get fixed buffers, others their own cache. Rows of a group share the prefill.
A row's random numbers come from its own seed, so that neither the other rows nor the order of
prompts change what it draws (up to rounding in matrix products).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from grpokit.api import NonFiniteError, Sampling, ShouldStop
from grpokit_hf.nn.attention import causal_mask
from grpokit_hf.nn.keys import Keys, StoredKeys
from grpokit_hf.nn.pick import pick

__all__ = ["Decoder", "Drawn", "left_pad"]

DROP = 0.25
"""Share of finished rows in the batch at which they are taken out."""


@dataclass
class Drawn:
    """One completion: tokens (with the ending one), log-probabilities, and whether it ended."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What sampling needs of a model.

    Attributes:
        body: the transformer without its head.
        head: hidden states -> logits.
        plain: full attention in every layer.
        mask_dtype: type of 4-D masks (bool for sdpa, else additive in this type).
        key_dtype: type in which keys and values are kept.
    """

    body: nn.Module
    head: nn.Module
    end_ids: frozenset[int]
    pad_id: int
    plain: bool
    mask_dtype: torch.dtype
    key_dtype: torch.dtype
    device: torch.device

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        uniforms_NT: Tensor,
        sampling: Sampling,
        should_stop: ShouldStop | None = None,
    ) -> list[Drawn]:
        """Completion n continues ``prompts[owners[n]]`` and uses the random numbers of row n."""
        ids_PL, valid_PL = left_pad(prompts, self.pad_id, self.device)
        owner_N = torch.tensor(owners, device=self.device)
        config: Any = self.body.config
        keys = (
            Keys(config.num_hidden_layers, len(prompts), ids_PL.shape[1], self.key_dtype)
            if self.plain
            else StoredKeys(config)
        )
        positions_PL = (valid_PL.cumsum(dim=1) - 1).clamp_(min=0)
        hidden_PLH = self._run(ids_PL, positions_PL, valid_PL, keys)
        logits_NV = self.head(hidden_PLH[:, -1]).index_select(0, owner_N)
        keys.spread(owner_N, sampling.max_tokens - 1)
        rows = Rows(valid_PL.index_select(0, owner_N), uniforms_NT.to(self.device), self.end_ids)
        while True:
            if should_stop is not None:
                should_stop()
            token_N, logprob_N = pick(logits_NV, rows.uniforms(), sampling)
            rows.record(token_N, logprob_N)
            if rows.step == sampling.max_tokens or not any(rows.alive):
                return rows.drawn
            token_N = rows.drop_finished(token_N, keys)
            position_N1 = rows.grow()
            hidden_N1H = self._run(token_N[:, None], position_N1, rows.valid, keys)
            logits_NV = self.head(hidden_N1H[:, -1])

    def _run(self, ids_NQ: Tensor, positions_NQ: Tensor, valid_NK: Tensor, keys: Keys) -> Tensor:
        mask = causal_mask(valid_NK, ids_NQ.shape[1], self.mask_dtype) if self.plain else valid_NK
        out = self.body(
            input_ids=ids_NQ,
            position_ids=positions_NQ,
            attention_mask=mask,
            past_key_values=keys.cache,
            use_cache=True,
        )
        hidden: Tensor = out.last_hidden_state
        return hidden


class Rows:
    """The rows that are still in the batch, and what every row has produced."""

    def __init__(self, valid_NL: Tensor, uniforms_NT: Tensor, end_ids: frozenset[int]) -> None:
        self.valid = valid_NL
        self.table = uniforms_NT
        self.end_ids = end_ids
        self.index = list(range(len(valid_NL)))
        self.alive = [True] * len(valid_NL)
        self.drawn = [Drawn() for _ in self.index]
        self.step = 0

    def uniforms(self) -> Tensor:
        return self.table[:, self.step]

    def record(self, token_N: Tensor, logprob_N: Tensor) -> None:
        """Adds one token to the rows that are alive; a finished row stays as ballast until dropped."""
        pairs = zip(token_N.tolist(), logprob_N.tolist(), strict=True)
        for slot, (token, logprob) in enumerate(pairs):
            if not self.alive[slot]:
                continue
            if not math.isfinite(logprob):
                raise NonFiniteError(
                    "the model gives probabilities that are not finite",
                    place=f"token {self.step + 1} of a completion",
                    remedy="it has diverged: take an earlier checkpoint and a lower optim.lr, "
                    "or set model.dtype: float32",
                )
            drawn = self.drawn[self.index[slot]]
            drawn.tokens.append(token)
            drawn.logprobs.append(logprob)
            if token in self.end_ids:
                drawn.ended = True
                self.alive[slot] = False
        self.step += 1

    def drop_finished(self, token_N: Tensor, keys: Keys) -> Tensor:
        """Takes finished rows out when there are enough of them to pay for the copy."""
        if sum(self.alive) > (1.0 - DROP) * len(self.alive):
            return token_N
        slots = [slot for slot, alive in enumerate(self.alive) if alive]
        keep_N = torch.tensor(slots, device=token_N.device)
        keys.keep(keep_N)
        self.valid, self.table = self.valid[keep_N], self.table[keep_N]
        self.index = [self.index[slot] for slot in slots]
        self.alive = [True] * len(slots)
        return token_N[keep_N]

    def grow(self) -> Tensor:
        """Makes the column of the token that is fed next valid; returns its position_N1."""
        position_N1 = self.valid.sum(dim=1, keepdim=True)
        self.valid = torch.cat([self.valid, torch.ones_like(self.valid[:, :1])], dim=1)
        return position_N1


def left_pad(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids ids_NL and their validity valid_NL, filled up on the left."""
    longest = max(len(row) for row in rows)
    ids = [[pad] * (longest - len(row)) + list(row) for row in rows]
    valid = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(valid, device=device)

"""Sampling from a causal transformers model: one prefill a prompt, finished rows leave the batch.

Works with every model that takes ``past_key_values``. Rows of a group share the prefill, and where
the kernel can (:mod:`grpokit_hf.nn.decode_attention`) their prompt's keys too; else the keys are
repeated, in fixed buffers for models with full attention in each layer (``plain_decoder``), in their own
cache for others.
A row's random numbers come from its own seed, so that neither the other rows nor the order of
prompts change what it draws (up to rounding in matrix products).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from grpokit.api import NonFiniteError, Sampling, ShouldStop
from grpokit_hf.nn.caches import Keys, SharedKeys, StoredKeys, left_pad
from grpokit_hf.nn.pack import check_used
from grpokit_hf.nn.pick import pick
from grpokit_hf.nn.products import Linear, torch_linear

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
        shared: rows of a group read their prompt's keys in one place.
        mask_dtype: type of 4-D masks (bool for sdpa, else additive in this type).
        key_dtype: type in which keys and values are kept.
        linear: who multiplies matrices.
    """

    body: nn.Module
    head: nn.Module
    end_ids: frozenset[int]
    pad_id: int
    plain: bool
    shared: bool
    mask_dtype: torch.dtype
    key_dtype: torch.dtype
    device: torch.device
    linear: Linear = torch_linear

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        uniforms_NT: Tensor,
        sampling: Sampling,
        should_stop: ShouldStop | None = None,
        ended: Callable[[int, Drawn], None] | None = None,
    ) -> list[Drawn]:
        """Completion n continues ``prompts[owners[n]]`` and uses the random numbers of row n.

        ``ended`` hears of each row that ends before the length limit, when it does.
        """
        owner_N = torch.tensor(owners, device=self.device)
        cache = self._cache(prompts)
        hidden_PH = cache.last(self._run(*cache.first(), cache))
        logits_NV = self.head(hidden_PH).index_select(0, owner_N)
        cache.spread(owners, sampling.max_tokens - 1)
        lengths_N = cache.lengths.index_select(0, owner_N)
        rows = Rows(lengths_N, uniforms_NT.to(self.device), self.end_ids, ended)
        while True:
            if should_stop is not None:
                should_stop()
            token_N, logprob_N = pick(logits_NV, rows.uniforms(), sampling)
            rows.record(token_N, logprob_N)
            if rows.step == sampling.max_tokens or not any(rows.alive):
                return rows.drawn
            token_N = rows.drop_finished(token_N, cache)
            hidden_N1H = self._run(token_N[:, None], rows.positions(), cache)
            logits_NV = self.head(hidden_N1H[:, -1])

    def _cache(self, prompts: Sequence[Sequence[int]]) -> Keys:
        config: Any = self.body.config
        layers = config.num_hidden_layers
        if self.shared:
            return SharedKeys(layers, prompts, self.device, self.key_dtype, self.linear)
        padded = (prompts, self.pad_id, self.device)
        if not self.plain:
            return StoredKeys(config, *padded)
        return Keys(layers, *padded, self.mask_dtype, self.key_dtype)

    def _run(self, ids_NQ: Tensor, positions_NQ: Tensor, cache: Keys) -> Tensor:
        out = self.body(
            input_ids=ids_NQ,
            position_ids=positions_NQ,
            past_key_values=cache.cache,
            use_cache=True,
            **cache.who_sees_whom(ids_NQ.shape[1]),
        )
        if cache.layout is not None:
            check_used(cache.layout.used, self.body)
        hidden: Tensor = out.last_hidden_state
        return hidden


class Rows:
    """The rows that are still in the batch, and what every row has produced."""

    def __init__(
        self,
        lengths_N: Tensor,
        uniforms_NT: Tensor,
        end_ids: frozenset[int],
        ended: Callable[[int, Drawn], None] | None = None,
    ) -> None:
        self.lengths = lengths_N
        self.table = uniforms_NT
        self.end_ids = end_ids
        self.ended = ended
        self.index = list(range(len(lengths_N)))
        self.alive = [True] * len(lengths_N)
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
                if self.ended is not None:
                    self.ended(self.index[slot], drawn)
        self.step += 1

    def drop_finished(self, token_N: Tensor, cache: Keys) -> Tensor:
        """Takes finished rows out when there are enough of them to pay for the copy."""
        if sum(self.alive) > (1.0 - DROP) * len(self.alive):
            return token_N
        slots = [slot for slot, alive in enumerate(self.alive) if alive]
        keep_N = torch.tensor(slots, device=token_N.device)
        cache.keep(slots, keep_N)
        self.lengths, self.table = self.lengths[keep_N], self.table[keep_N]
        self.index = [self.index[slot] for slot in slots]
        self.alive = [True] * len(slots)
        return token_N[keep_N]

    def positions(self) -> Tensor:
        """Positions (N, 1) of the tokens that are fed next."""
        return (self.lengths + (self.step - 1))[:, None]

"""Sampling from a causal transformers model: one prefill a prompt, finished rows leave the batch.

Works with every model that takes ``past_key_values``. Rows of a group share the prefill, and where
the kernel can (:mod:`grpokit_hf.nn.decode_attention`) their prompt's keys too; else the keys are
repeated, in fixed buffers for models with full attention in each layer (``plain_decoder``), in their own
cache for others.
A row's random numbers come from its own seed, so that neither the other rows nor the order of
prompts change what it draws (up to rounding in matrix products).

Rows of a group that have drawn the same tokens so far are in the same state. With ``tree`` the model sees
it once: a batch begins with a place for each prompt, and a place parts in two where rows differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from grpokit.api import Sampling, ShouldStop
from grpokit_hf.nn.caches import Keys, SharedKeys, StoredKeys, left_pad
from grpokit_hf.nn.native import ROWS, Native
from grpokit_hf.nn.pack import check_used
from grpokit_hf.nn.pick import pick
from grpokit_hf.nn.products import Linear, torch_linear
from grpokit_hf.nn.rows import Drawn, Finished, Rows
from grpokit_hf.nn.token import TokenStep

__all__ = ["Decoder", "Drawn", "Rows", "left_pad"]


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """What sampling needs of a model.

    Attributes:
        body: the transformer without its head.
        head: hidden states -> logits.
        plain: full attention in every layer.
        shared: rows of a group read their prompt's keys in one place.
        tree: rows that have drawn the same so far are computed once.
        mask_dtype: type of 4-D masks (bool for sdpa, else additive in this type).
        key_dtype: type in which keys and values are kept.
        linear: who multiplies matrices.
        tiles: attention over packed prompts goes over its scores in tiles.
        step: computes single tokens where layers are known; None leaves them to transformers.
    """

    body: nn.Module
    head: nn.Module
    end_ids: frozenset[int]
    pad_id: int
    plain: bool
    shared: bool
    mask_dtype: torch.dtype
    key_dtype: torch.dtype
    tree: bool
    device: torch.device
    linear: Linear = torch_linear
    tiles: bool = False
    step: TokenStep | None = None

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        uniforms_NT: Tensor,
        sampling: Sampling,
        should_stop: ShouldStop | None = None,
        ended: Callable[[int, Drawn], None] | None = None,
        finished: Finished | None = None,
    ) -> list[Drawn]:
        """Completion n continues ``prompts[owners[n]]`` and uses the random numbers of row n.

        ``ended`` hears of each row that ends before the length limit, when it does; ``finished`` says
        that one does though its model would go on.
        """
        cache = self._cache(prompts)
        hidden_PH = cache.last(self._run(*cache.first(), cache))
        logits_DV = self.head(hidden_PH)
        rows = Rows(
            *(uniforms_NT.to(self.device), self.end_ids, ended, owners),
            tree=self.tree,
            finished=finished,
        )
        while True:
            if should_stop is not None:
                should_stop()
            token_N, logprob_N = pick(logits_DV, rows.uniforms(), sampling, rows.places())
            rows.record(token_N, logprob_N)
            if rows.step == sampling.max_tokens or not any(rows.alive):
                return rows.drawn
            token_D = rows.arrange(cache, sampling.max_tokens - 1)
            positions_D1 = (cache.lengths + (rows.step - 1))[:, None]
            logits_DV = self._logits(token_D[:, None], positions_D1, cache)

    def _cache(self, prompts: Sequence[Sequence[int]]) -> Keys:
        config: Any = self.body.config
        layers = config.num_hidden_layers
        if self.shared:
            return SharedKeys(
                *(layers, prompts, self.device, self.key_dtype, self.linear),
                tiles=self.tiles,
                apart=0 if self.native is None else ROWS,
            )
        padded = (prompts, self.pad_id, self.device)
        if not self.plain:
            return StoredKeys(config, *padded)
        return Keys(layers, *padded, self.mask_dtype, self.key_dtype)

    @property
    def native(self) -> Native | None:
        """The token step in C, unless it was found to differ."""
        native = None if self.step is None or self.step.tried is False else self.step.native
        return None if native is None or native.tried is False else native

    def _logits(self, ids_D1: Tensor, positions_D1: Tensor, cache: Keys) -> Tensor:
        """logits_DV of the next token."""
        native, slow = self.native, partial(self._next, ids_D1, positions_D1, cache)
        if native is None or len(ids_D1) > ROWS or not isinstance(cache, SharedKeys):
            return self._head(slow())
        fast = partial(native, ids_D1, positions_D1, cache)
        if not native.tried:
            filled = cache.filled
            hidden_D1H, same = compared(cache, slow, lambda: fast(head=False)[:, None], native)
            if not same:
                return self._head(hidden_D1H)
            cache.rewind(filled)  # once more, with the head that computes every later token
        found = fast(head=True)
        return found if native.head is not None else self._head(found[:, None])

    def _head(self, hidden_D1H: Tensor) -> Tensor:
        logits_DV: Tensor = self.head(hidden_D1H[:, -1])
        return logits_DV

    def _next(self, ids_D1: Tensor, positions_D1: Tensor, cache: Keys) -> Tensor:
        """hidden_D1H of the next token; the first of a run by transformers too, to compare."""
        step, slow = self.step, partial(self._run, ids_D1, positions_D1, cache)
        if step is None or step.tried is False or not isinstance(cache, SharedKeys):
            return slow()
        fast = partial(step, ids_D1, positions_D1, cache)
        return fast() if step.tried else compared(cache, slow, fast, step)[0]

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


def compared(
    cache: SharedKeys,
    slow: Callable[[], Tensor],
    fast: Callable[[], Tensor],
    step: TokenStep | Native,
) -> tuple[Tensor, bool]:
    """hidden_D1H as the faster way has it, or as the other has where they differ; whether they do not.

    The keys of the one that counts stay in the cache, as in every later run.
    """
    filled, slow_D1H = cache.filled, slow()
    cache.rewind(filled)
    fast_D1H = fast()
    if step.agrees(fast_D1H, slow_D1H):
        return fast_D1H, True
    cache.rewind(filled)
    return slow(), False

"""Log-probabilities of completion tokens, without ever holding the logits of a batch.

The transformer's body gives hidden states; only those that predict completion tokens go through the
language-model head, as rows of a matrix, a chunk at a time. (As slices of a 3-D tensor the head
would copy its whole weight for every row.)

Two ways to the hidden states. *Plain*: prompt and completion as one row, padded on the right; with
causal attention nothing sees the padding, so no mask is needed. *Packed*: all rows of a micro-batch as
one sequence without padding, in which each distinct prompt stands once. The second is exact too and
several times faster for groups on long prompts. It is used for models with full attention in every
layer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grpokit.api import algorithms
from grpokit_hf.nn.batch import Batch
from grpokit_hf.nn.native_head import head_of
from grpokit_hf.nn.pack import Pack, Twins, check_used
from grpokit_hf.nn.products import Linear, torch_linear

__all__ = ["Forward", "Layouts", "PackLayout", "TokenValues"]


class PackLayout(Protocol):
    """Who sees whom in a pack, as a kernel of :mod:`grpokit_hf.nn.attention` reads it.

    ``pack`` is what the model is fed with, and ``used`` counts the layers that asked.
    """

    pack: Pack
    used: int

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float | None,
    ) -> Tensor: ...


Layouts = Callable[[Pack], PackLayout]


@dataclass(frozen=True)
class TokenValues:
    """Values of the M completion tokens of a batch, rows one after another, no padding."""

    logprobs_M: Tensor
    entropy_M: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Forward:
    """What training needs of a model; see :class:`grpokit_hf.nn.decode.Decoder` for the parts."""

    body: nn.Module
    head: nn.Module
    pad_id: int
    layouts: Layouts | None
    """What a packed sequence is laid out with; None computes whole padded rows."""
    autocast: torch.dtype | None
    logit_rows: int
    device: torch.device
    tree: bool = True
    """What completions begin with in common is computed once, where rows are packed."""
    linear: Linear = torch_linear
    softcap: float | None = None
    logit_scale: float = 1.0
    outer: Callable[..., Any] | None = None
    """Calls a function in a place where other processes take part in what it computes."""

    @property
    def shared(self) -> bool:
        """Whether a prompt is computed once for its group."""
        return self.layouts is not None

    def __call__(
        self, batch: Batch, temperature: float, *, with_entropy: bool = False
    ) -> TokenValues:
        """Log p(token | before) of every completion token, logits divided by ``temperature``.

        The division makes the trained distribution the one that was sampled from.
        """
        if self.outer is None:
            return TokenValues(*self.values(batch, temperature, with_entropy=with_entropy))
        return TokenValues(
            *self.outer(lambda: self.values(batch, temperature, with_entropy=with_entropy))
        )

    def values(
        self, batch: Batch, temperature: float, *, with_entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        """logprobs_M and, if asked for, entropy_M."""
        with self.precision():
            hidden_MH, twins = self.hidden(batch)
            targets_M = batch.targets_NT[batch.mask_NT]
            if twins is not None:
                hidden_MH, targets_M = hidden_MH[twins.first_U], targets_M[twins.first_U]
            weight: Any = self.head.weight
            bias: Any = getattr(self.head, "bias", None)
            logprobs_M, entropy_M = algorithms.token_logprobs(
                hidden_MH,
                weight,
                targets_M,
                bias_V=bias,
                chunk=self.logit_rows,
                temperature=temperature,
                softcap=self.softcap,
                entropy=with_entropy,
                linear=self.linear,
                values=head_of(self.linear),
            )
        if twins is not None:
            logprobs_M = logprobs_M[twins.back_M]
            entropy_M = None if entropy_M is None else entropy_M[twins.back_M]
        return logprobs_M, entropy_M

    @torch.no_grad()
    def certainty(self, batch: Batch, wanted_M: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs at temperature 1 and KL(U || p) of the wanted tokens among the M of the batch."""
        with self.precision():
            weight: Any = self.head.weight
            bias: Any = getattr(self.head, "bias", None)
            return algorithms.token_certainty(
                self.hidden(batch)[0][wanted_M],
                weight,
                batch.targets_NT[batch.mask_NT][wanted_M],
                bias_V=bias,
                chunk=self.logit_rows,
                softcap=self.softcap,
            )

    @property
    def vocabulary(self) -> int:
        """Entries of a row of logits."""
        weight: Any = self.head.weight
        return int(weight.shape[0])

    def hidden(self, batch: Batch) -> tuple[Tensor, Twins | None]:
        """hidden_MH that the head takes to logits, and which predictions are known to be the same."""
        twins = None
        if self.layouts is None:
            hidden_MH = self.hidden_plain(batch)
        else:
            pack = Pack.of(batch.rows, self.device, tree=self.tree)
            hidden_MH, twins = self.hidden_packed(self.layouts(pack)), pack.twins
        return (hidden_MH if self.logit_scale == 1 else hidden_MH * self.logit_scale), twins

    def precision(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def hidden_plain(self, batch: Batch) -> Tensor:
        """hidden_MH from whole rows; column j of a row predicts token j + 1."""
        full = [[*row.prompt_ids, *row.tokens] for row in batch.rows]
        longest = max(len(ids) for ids in full)
        ids_NL = torch.tensor(
            [[*ids, *[self.pad_id] * (longest - len(ids))] for ids in full], device=self.device
        )
        positions_NL = torch.arange(longest, device=self.device).expand(len(full), -1)
        out = self.body(input_ids=ids_NL, position_ids=positions_NL, use_cache=False)
        wanted_NL = torch.zeros(ids_NL.shape, dtype=torch.bool, device=self.device)
        for row, item in enumerate(batch.rows):
            start = len(item.prompt_ids) - 1
            wanted_NL[row, start : start + len(item.tokens)] = True
        hidden: Tensor = out.last_hidden_state[wanted_NL]
        return hidden

    def hidden_packed(self, layout: PackLayout) -> Tensor:
        """hidden_MH from one sequence without padding, in which each prompt is computed once."""
        pack = layout.pack
        out = self.body(
            input_ids=pack.ids_L[None],
            position_ids=pack.positions_L[None],
            attention_mask=self.no_mask,
            use_cache=False,
            layout=layout,
        )
        check_used(layout.used, self.body)
        hidden: Tensor = out.last_hidden_state[0].index_select(0, pack.wanted_M)
        return hidden

    @property
    def no_mask(self) -> Tensor:
        """Transformers makes a matrix of all pairs unless it is given a mask; the layout replaces it."""
        return torch.zeros(1, 1, 1, 1, device=self.device)

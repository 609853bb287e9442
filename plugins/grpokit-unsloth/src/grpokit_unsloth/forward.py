"""Hidden states out of a model that Unsloth has changed, for a loss that is ours.

On a GPU Unsloth replaces the forward of a model and of its layers. Its own GRPO loss would be one
of the eight that it knows, whatever the recipe says. So only the hidden states before the
language-model head are taken from it; ``algorithms.token_logprobs`` multiplies them with the head, a
chunk at a time, and gradients flow back through Unsloth's kernels. On a CPU the model is plain
transformers, and hf's forward is used as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grpokit.api import PreflightError
from grpokit_hf.nn.head import Head

__all__ = ["HiddenStates", "check_hidden_states", "returning_hidden_states"]

SWITCH = "UNSLOTH_RETURN_HIDDEN_STATES"
"""With 1, Unsloth's forwards return the last hidden states in the place of the logits."""


@contextmanager
def returning_hidden_states() -> Iterator[None]:
    """The switch is on inside the block, and as before after it."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


@dataclass(frozen=True)
class Body:
    """What a transformer without its head returns."""

    last_hidden_state: Tensor


class HiddenStates(nn.Module):
    """Takes the place of the transformer's body in :class:`grpokit_hf.nn.forward.Forward`."""

    def __init__(self, model: Any, width: int) -> None:
        super().__init__()
        self.whole = (model,)  # in a tuple: not a submodule, so it is not counted twice
        self.width = width

    def forward(self, input_ids: Tensor, position_ids: Tensor, *, use_cache: bool) -> Body:
        """hidden_NLH of rows padded on the right.

        Positions are those of columns in any case. They are not passed on: of a single row Unsloth
        would guess from them whether several sequences are packed in it.
        """
        del position_ids
        with returning_hidden_states():
            out = self.whole[0](input_ids=input_ids, use_cache=use_cache)
        hidden: Tensor = out.logits
        if hidden.shape != (*input_ids.shape, self.width):
            raise no_hidden_states(tuple(hidden.shape), (*input_ids.shape, self.width))
        return Body(hidden)


def no_hidden_states(got: tuple[int, ...], wanted: tuple[int, ...]) -> PreflightError:
    return PreflightError(
        f"this model's forward under Unsloth gives {got} where hidden states {wanted} are needed",
        place="backend.use",
        remedy="take the backend `hf` for this model, or raise backend.with.max_seq_length if the "
        "second number is smaller",
    )


def check_hidden_states(model: Any, hidden: HiddenStates, ids: Tensor) -> None:
    """Hidden states times head are the model's own logits; else the loss would be of another model."""
    with torch.no_grad():
        own_V = model(input_ids=ids, use_cache=False).logits[0, -1].float()
        body = hidden(ids, ids, use_cache=False)
        ours_V = Head(model)(body.last_hidden_state[0, -1:])[0].float()
    if own_V.shape != ours_V.shape or not torch.allclose(own_V, ours_V, rtol=5e-2, atol=5e-2):
        raise PreflightError(
            f"the architecture {model.config.model_type!r} changes its logits in a way that the "
            "unsloth backend does not know",
            place="model.id",
            remedy="take another model, or the backend `trl`",
        )

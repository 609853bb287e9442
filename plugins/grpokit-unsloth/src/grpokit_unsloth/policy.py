"""What the backend `hf` knows as a policy, around a model that Unsloth made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from grpokit_hf.nn.forward import Forward
from grpokit_hf.nn.head import logit_changes
from grpokit_hf.policy import Policy
from grpokit_unsloth.forward import HiddenStates

__all__ = ["UnslothPolicy"]


@dataclass(kw_only=True)
class UnslothPolicy(Policy):
    """A model that samples and trains, with Unsloth's kernels where there is a GPU.

    Attributes:
        longest: tokens that a row may have; Unsloth would cut what is longer without an error.
        engine: vLLM on the same weights; None where the model samples itself.
        recompute: gradient checkpointing in Unsloth's words: no, plain, or to the host's memory.
    """

    longest: int
    engine: Any = None
    recompute: bool | str = False

    @property
    def patched(self) -> bool:
        """Unsloth's kernels are in the model: so on a GPU, and never on a CPU."""
        return self.device.type != "cpu"

    @property
    def mask_dtype(self) -> torch.dtype:
        return torch.bool if self.patched else super().mask_dtype

    def forward(self, model: Any = None) -> Forward:
        if not self.patched:
            return super().forward(model)
        base = self.base if model is None else model
        softcap, scale = logit_changes(base.config)
        return Forward(
            body=HiddenStates(base, base.config.get_text_config().hidden_size),
            head=base.get_output_embeddings(),
            pad_id=self.tokenizer.pad_id,
            layouts=None,
            autocast=self.autocast,
            logit_rows=self.config.logit_rows,
            device=self.device,
            softcap=softcap,
            logit_scale=scale,
        )

    def ready_to_train(self) -> None:
        """Undoes what Unsloth's ``generate`` leaves: it turns gradient checkpointing off for good."""
        from unsloth import FastLanguageModel

        if self.patched:
            FastLanguageModel.for_training(self.model, use_gradient_checkpointing=self.recompute)
        self.model.eval()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        if not self.patched:
            with super().sampling():
                yield
            return
        self.model.eval()
        yield

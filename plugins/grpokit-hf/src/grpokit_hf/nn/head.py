"""The model's head: hidden states -> logits, with what some models do to them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Head", "logit_changes"]


class Head(nn.Module):
    """Hidden states -> logits, with the model's soft cap or scale."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.head = base.get_output_embeddings()
        self.softcap, self.scale = logit_changes(base.config)

    def forward(self, hidden_NH: Tensor) -> Tensor:
        logits_NV: Tensor = self.head(hidden_NH if self.scale == 1 else hidden_NH * self.scale)
        if self.softcap is not None:
            logits_NV = torch.tanh(logits_NV.float() / self.softcap) * self.softcap
        return logits_NV


def logit_changes(config: Any) -> tuple[float | None, float]:
    """Soft cap and scale that some models (Gemma 2, Cohere, Granite) put on their logits."""
    text = config.get_text_config()
    softcap = getattr(text, "final_logit_softcapping", None)
    scale = float(getattr(text, "logit_scale", None) or 1.0)
    scaling = float(getattr(text, "logits_scaling", None) or 1.0)
    return softcap, scale / scaling

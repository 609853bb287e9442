"""LoRA on a model, as PEFT wraps it; the same on every backend of transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from grpokit.api import PreflightError, Recipe, derive_seed

__all__ = ["with_adapter"]


def with_adapter(model: Any, recipe: Recipe, device: torch.device) -> Any:
    """``model`` in its PEFT wrapper; the adapter starts from the run's seed.

    Raises:
        PreflightError: the recipe's targets are no modules of this model.
    """
    from peft import LoraConfig, get_peft_model

    section = recipe.model.lora
    assert section is not None
    targets = section.targets if isinstance(section.targets, str) else list(section.targets)
    settings = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(recipe.train.seed, "lora"))
        try:
            return get_peft_model(model, settings)
        except ValueError as error:
            linear = {
                name.rpartition(".")[2]
                for name, module in model.named_modules()
                if isinstance(module, nn.Linear)
            }
            raise PreflightError(
                f"no adapter fits lora.targets {targets}",
                place="model.lora.targets",
                remedy=f"this model's linear modules are {', '.join(sorted(linear))}",
            ) from error

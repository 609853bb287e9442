"""AdamW's moments by weight name, whole or in shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["give", "take"]

KINDS = ("step", "exp_avg", "exp_avg_sq")


def take(trainer: Any) -> dict[str, Tensor]:
    """``kind/weight`` -> moment. Under DeepSpeed none: its optimiser keeps them to itself."""
    if trainer.optimizer is None or trainer.is_deepspeed_enabled:
        return {}
    if trainer.sharded():
        from torch.distributed.checkpoint import state_dict as sharded

        options = sharded.StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole: dict[str, Any] = sharded.get_optimizer_state_dict(
            trainer.model_wrapped, inner(trainer), options=options
        )
        return {
            f"{kind}/{name}": torch.as_tensor(value)
            for name, table in whole["state"].items()
            for kind, value in table.items()
            if kind in KINDS
        }
    state = inner(trainer).state
    return {
        f"{kind}/{name}": state[weight][kind]
        for name, weight in trainer.loaded.weights.items()
        for kind in KINDS
        if kind in state.get(weight, {})
    }


def give(trainer: Any, moments: Mapping[str, Tensor]) -> None:
    """Puts the moments that :func:`take` gave into a fresh optimiser."""
    if not moments or trainer.is_deepspeed_enabled:
        return
    if trainer.sharded():
        from torch.distributed.checkpoint import state_dict as sharded

        optimizer = inner(trainer)
        options = sharded.StateDictOptions(full_state_dict=True, broadcast_from_rank0=False)
        found: dict[str, Any] = sharded.get_optimizer_state_dict(
            trainer.model_wrapped, optimizer, options=options
        )
        tables: dict[str, dict[str, Tensor]] = {}
        for key, value in moments.items():
            kind, _, name = key.partition("/")
            tables.setdefault(name, {})[kind] = value
        found["state"] = tables
        sharded.set_optimizer_state_dict(trainer.model_wrapped, optimizer, found, options=options)
        return
    state = inner(trainer).state
    for name, weight in trainer.loaded.weights.items():
        found = {kind: moments[f"{kind}/{name}"] for kind in KINDS if f"{kind}/{name}" in moments}
        if found:
            state[weight] = {kind: value.to(weight.device).clone() for kind, value in found.items()}


def inner(trainer: Any) -> Any:
    """The optimiser inside accelerate's wrapper."""
    return getattr(trainer.optimizer, "optimizer", trainer.optimizer)

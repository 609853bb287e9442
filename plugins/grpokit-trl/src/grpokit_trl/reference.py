"""The reference policy: the adapter switched off, an adapter that was kept, or a frozen copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from grpokit.api import PreflightError, Recipe, Resets, derive_seed
from grpokit_hf.reset import check_fit, copy_of, put, swapped
from grpokit_trl.load import Loaded, read_model

__all__ = ["Reference"]


class Reference:
    """What the policy is held to, and what begins anew.

    Attributes:
        model: a frozen copy where all weights train; an adapter needs none.
        weights: the adapter that is the reference since its last reset; before it, None.
        moved: the reference is no longer the model that was loaded.
    """

    def __init__(self, loaded: Loaded, recipe: Recipe, attention: str, *, needed: bool) -> None:
        self.loaded = loaded
        self.recipe = recipe
        self.attention = attention
        self.needed = needed
        self.model: Any = None
        self.weights: dict[str, Tensor] | None = None
        self.moved = False
        if needed and not loaded.adapter:
            self.model = copy.deepcopy(loaded.model).requires_grad_(requires_grad=False).eval()

    def place(self, trainer: Any) -> None:
        """Puts a frozen copy where the policy is, cut into shards like it."""
        if self.model is None:
            return
        if trainer.sharded():
            self.model = trainer.accelerator.prepare_model(self.model, evaluation_mode=True)
        else:
            self.model.to(trainer.accelerator.device)

    @contextmanager
    def active(self) -> Iterator[Any]:
        """Inside the block the yielded model, or the policy where it is None, is the reference."""
        if self.model is not None:
            yield self.model
        elif self.weights is not None:
            with swapped(self.loaded.weights, self.weights):
                yield None
        else:
            with self.loaded.model.disable_adapter():
                yield None

    def reset(self, resets: Resets, trainer: Any) -> None:
        """Begins anew what is named; a reset reference is the policy before its own reset."""
        if trainer.sharded():
            raise PreflightError(
                "policy, optimiser and reference cannot begin anew where weights are cut into shards",
                place="algorithm.parts.reset",
                remedy="run without FSDP and DeepSpeed, or set algorithm.parts.reset: {use: never}",
            )
        if resets.reference:
            self.set(copy_of(self.loaded.weights))
        if resets.policy:
            self.first_weights()
            trainer._last_loaded_step = -1  # noqa: SLF001  # vLLM gets them before it draws again
        if resets.optimizer:
            inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
            inner.state.clear()
            trainer.driver.bad_streak = 0

    def set(self, weights: Mapping[str, Tensor]) -> None:
        """Makes ``weights`` (those that train, by name) the reference policy."""
        device = next(iter(self.loaded.weights.values())).device
        placed = {name: value.to(device) for name, value in weights.items()}
        if self.model is None:
            check_fit(self.loaded.weights, placed)
            self.weights = placed
        else:
            put(dict(self.model.named_parameters()), placed)
        self.moved = True

    def saved(self) -> dict[str, Tensor] | None:
        """The reference to be saved; None as long as it is the model that was loaded."""
        if not self.moved:
            return None
        return self.weights or dict(self.model.named_parameters())

    def first_weights(self) -> None:
        """Takes training back to its start: an adapter that does nothing, or the model as loaded."""
        loaded = self.loaded
        if not loaded.adapter:
            fresh = dict(read_model(loaded.folder, loaded.dtype, self.attention).named_parameters())
            put(loaded.weights, {name: fresh[name] for name in loaded.weights})
            return
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(derive_seed(self.recipe.train.seed, "lora", "again"))
            for module in loaded.model.modules():
                again: Any = getattr(module, "reset_lora_parameters", None)
                if again is not None:
                    again("default", init_lora_weights=True)

"""The weights that vLLM gets while an adapter trains.

TRL adds the adapter to the frozen weights, hands those over and takes it off again. In bfloat16 what
is left is not what was there: the rounding stays, and adds up from step to step. Then the model that
was trained is no longer the saved adapter on the base model, and the reference policy moves. So each
layer's sum is made here on its own, handed over and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from grpokit.api import PreflightError
from grpokit_trl.compat import misfit, version

__all__ = ["hand_over_merged", "merged"]


def hand_over_merged(engine: Any) -> None:
    """Lets TRL's wrapper of vLLM take its weights from :func:`merged`.

    Raises:
        PreflightError: this TRL takes them elsewhere, or the adapter is on weights that two layers share.
    """
    if not hasattr(engine, "_iter_named_params"):
        raise misfit(version(), "VLLMGeneration has no method _iter_named_params")
    names = {name for name, _ in engine.model.named_parameters()}
    shared = sorted(adapted(engine.model).keys() - names)
    if shared:
        raise PreflightError(
            f"vLLM cannot get an adapter on weights that two layers share ({shared[0]})",
            place="model.lora.targets",
            remedy="leave that module out, or remove backend.with.vllm",
        )
    engine._iter_named_params = lambda: merged(engine)  # noqa: SLF001  # the same from 1.14 to 1.16


def adapted(model: Any) -> dict[str, Any]:
    """Name of a frozen weight -> the layer that adds an adapter to it."""
    from peft.tuners.lora import LoraLayer

    return {
        f"{name}.base_layer.weight": module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def merged(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """Each weight under vLLM's name, with what the adapter adds to it; the model is left as it is."""
    model = engine.model
    layers = adapted(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if model.prefix in name:
                continue
            value = weight.data
            if name in layers:
                added = layers[name].get_delta_weight("default").float()
                value = (value.float() + added).to(value.dtype)
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            yield engine._fix_param_name_to_vllm(plain), value  # noqa: SLF001

"""Small recipes whose completions come from vLLM, and a model that its kernels for CPUs can compute."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from grpokit.api import Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig


def widen(source: Path, target: Path) -> Path:
    """Heads of d become heads of 2d that compute the same.

    Rotary frequencies are theta^(-2i/d): every second one of the wide head is one of the narrow
    head. So dimension i goes to 2i in its half, zeros between, and the queries grow by sqrt(2)
    because the wide head divides its products by sqrt(2d).
    """
    shutil.copytree(source, target)
    config = json.loads((source / "config.json").read_text())
    heads, narrow = config["num_attention_heads"], config["head_dim"]
    config["head_dim"] = 2 * narrow
    (target / "config.json").write_text(json.dumps(config))
    weights = load_file(source / "model.safetensors")
    places = [2 * i + (narrow if half else 0) for half in (0, 1) for i in range(narrow // 2)]
    for name, weight in weights.items():
        kind = name.rsplit(".", 2)[-2]
        if kind in ("q_proj", "k_proj", "v_proj"):
            wide = torch.zeros(heads, 2 * narrow, weight.shape[1])
            wide[:, places] = weight.view(heads, narrow, -1)
            if kind == "q_proj":
                wide *= math.sqrt(2.0)
            weights[name] = wide.reshape(heads * 2 * narrow, -1)
        elif kind == "o_proj":
            wide = torch.zeros(weight.shape[0], heads, 2 * narrow)
            wide[:, :, places] = weight.view(-1, heads, narrow)
            weights[name] = wide.reshape(weight.shape[0], -1)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def vllm_recipe(
    folder: Path, *, lora: bool = True, vllm: dict[str, Any] | None = None, **sections: Any
) -> Recipe:
    """A small recipe whose completions come from vLLM."""
    data: dict[str, Any] = {
        "grpokit": 1,
        "model": {
            "id": str(folder),
            "dtype": "float32",
            "lora": {"rank": 4, "alpha": 8.0} if lora else None,
        },
        "dataset": {"use": "inline"},
        "rewards": [{"use": "exact"}],
        "rollout": {"prompts": 3, "group": 4, "max_tokens": 10},
        "optim": {"lr": 2e-2, "warmup": 0.0, "schedule": "constant", "max_grad_norm": 10.0},
        "backend": {
            "use": "hf",
            "with": {
                "threads": 1,
                "device": "cpu",
                "rollouts": "vllm",
                "vllm": {"cpu_cache": 1, "max_len": 256, **(vllm or {})},
            },
        },
        "train": {"steps": 20, "seed": 7},
    }
    for name, values in sections.items():
        data[name] = {**data[name], **values}
    return Recipe.model_validate(data)


def opened(recipe: Recipe) -> HfBackend:
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    return backend

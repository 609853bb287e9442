"""A recipe on the tiny model and questions for it: what the tests of every backend begin with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from grpokit.api import Prompt, Recipe

__all__ = ["questions", "tiny_recipe"]

BASE: dict[str, Any] = {
    "grpokit": 1,
    "model": {"id": "", "dtype": "float32", "lora": {"rank": 4, "alpha": 8.0}},
    "dataset": {"use": "inline"},
    "rewards": [{"use": "exact"}],
    "rollout": {"prompts": 3, "group": 4, "max_tokens": 10},
    "optim": {"lr": 1e-2, "warmup": 0.0, "schedule": "constant", "max_grad_norm": 10.0},
    "backend": {"use": "", "with": {"threads": 1, "device": "cpu"}},
    "train": {"steps": 20, "seed": 7},
}


def tiny_recipe(name: str, folder: Path, /, **sections: dict[str, Any]) -> Recipe:
    """A recipe for a backend on the model of a folder; keyword arguments replace keys of a section."""
    data = copy.deepcopy(BASE)
    data["model"]["id"] = str(folder)
    data["backend"]["use"] = name
    for key, values in sections.items():
        data[key] = {**data[key], **values}
    return Recipe.model_validate(data)


def questions(*texts: str) -> list[Prompt]:
    """Prompts of different lengths."""
    chosen = texts or ("2+2?", "What is 13 + 29?", "a long question " * 3)
    return [
        Prompt(
            id=f"id-{index}-{text[:8]}",
            index=index,
            row={"answer": "4"},
            messages=({"role": "user", "content": text},),
        )
        for index, text in enumerate(chosen)
    ]

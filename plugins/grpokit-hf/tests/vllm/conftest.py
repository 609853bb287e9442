"""Real vLLM on tiny models. Where vLLM is not installed these tests say so and are skipped."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpokit.api import Prompt, Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from tiny_model import write_tiny_model

HERE = Path(__file__).parent
NEEDS_VLLM = {"test_engine.py", "test_full.py", "test_server.py", "test_learns.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("vllm") is not None:
        return
    skip = pytest.mark.skip(reason="vLLM is not installed; see docs/howto-vllm.md")
    for item in items:
        if item.path.parent == HERE and item.path.name in NEEDS_VLLM:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose heads are 32 wide: vLLM's kernels for CPUs have no smaller ones."""
    return write_tiny_model(tmp_path_factory.mktemp("wide"), hidden=128, spread=0.12)


@pytest.fixture(scope="session")
def wide_sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model ``tiny-sums`` with heads twice as wide and the same function."""
    from grpokit_hf.locate import ensure, locate

    target = tmp_path_factory.mktemp("sums") / "model"
    return widen(ensure(locate("tiny-sums", None), say=lambda text: None), target)


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


@pytest.fixture(scope="module")
def adapter_backend(wide_model: Path) -> Iterator[HfBackend]:
    """LoRA on the random model; the tests of a module change its weights one after another."""
    backend = opened(vllm_recipe(wide_model))
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def questions() -> list[Prompt]:
    """Prompts of different lengths that begin alike."""
    texts = ("2+2?", "2+2 and then 13 + 29?", "a long question " * 3)
    return [
        Prompt(
            id=f"id-{index}",
            index=index,
            row={"answer": "4"},
            messages=({"role": "user", "content": text},),
        )
        for index, text in enumerate(texts)
    ]

"""Fixtures of the hf plugin's tests: tiny models, recipes on them, open backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import ExportRequest, ExportResult, Prompt, Recipe, Rollout, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.nn import amx
from talks import TALKS
from tiny_model import write_tiny_model
from tiny_recipes import questions, tiny_recipe


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny products gain nothing from threads, and equal thread counts make runs bit-equal."""
    torch.set_num_threads(1)


@pytest.fixture
def small_products(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AMX tiles multiply small matrices too; afterwards there are as many threads as before."""
    monkeypatch.setattr(amx, "SMALL", 1)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers and a character tokenizer. Do not write into it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as Qwen2, with biases and a tied head. Do not write into it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-qwen"), kind="qwen2", seed=3)


@pytest.fixture
def make_tiny_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a variant: ``make_tiny_model("name", kind="llama", eos=...)``."""

    def make(name: str = "model", **settings: Any) -> Path:
        return write_tiny_model(tmp_path / name, **settings)

    return make


@pytest.fixture
def make_recipe(tiny_model_folder: Path) -> Callable[..., Recipe]:
    """A recipe on the tiny model; keyword arguments replace keys of a section."""

    def make(folder: Path | None = None, **sections: dict[str, Any]) -> Recipe:
        return tiny_recipe("hf", folder or tiny_model_folder, **sections)

    return make


@pytest.fixture
def open_backend() -> Iterator[Callable[..., Any]]:
    """Opens a backend for a recipe; closed after the test."""
    from grpokit_hf.config import HfConfig

    opened = []

    def make(recipe: Recipe, *, needs_reference: bool = False) -> HfBackend:
        backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
        backend.open(recipe, needs_reference=needs_reference, needs_entropy=False)
        opened.append(backend)
        return backend

    yield make
    for backend in opened:
        backend.close()


@pytest.fixture
def make_prompts() -> Callable[..., list[Prompt]]:
    """Prompts of different lengths."""
    return questions


@pytest.fixture
def take(make_prompts) -> Callable[..., Rollout]:
    """A rollout with completions of different lengths."""

    def make(backend: HfBackend, *, step: int = 1, temperature: float = 1.0) -> Rollout:
        sampling = Sampling(group=4, max_tokens=10, seed=7, step=step, temperature=temperature)
        rollout = backend.generate(make_prompts(), sampling)
        groups = []
        for p, group in enumerate(rollout.completions):
            cut = []
            for g, completion in enumerate(group):
                keep = max(1, len(completion.token_ids) - (2 * g + p))
                cut.append(
                    replace(
                        completion,
                        token_ids=completion.token_ids[:keep],
                        logprobs=(completion.logprobs or ())[:keep],
                    )
                )
            groups.append(tuple(cut))
        return replace(rollout, completions=tuple(groups))

    return make


@pytest.fixture
def make_policy(tmp_path: Path, open_backend: Callable[..., HfBackend]) -> Callable[..., Path]:
    """A saved policy whose weights were moved at random: all that an export sees of training."""

    def make(recipe: Recipe, spread: float = 0.2) -> Path:
        backend = open_backend(recipe)
        torch.manual_seed(5)
        with torch.no_grad():
            for name, weight in backend.policy.weights.items():
                if recipe.model.lora is None:
                    weight.add_(spread * torch.randn_like(weight) * weight.std())
                elif "lora_B" in name or "lora_embedding_A" in name:  # these begin as zero
                    weight.add_(spread * torch.randn_like(weight))
        backend.save_policy(tmp_path / "policy")
        return tmp_path / "policy"

    return make


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., ExportResult]:
    from grpokit_hf.export.weights import export_weights

    def make(recipe: Recipe, policy: Path, form: Any, kind: str = "") -> ExportResult:
        out = tmp_path / "out"
        out.mkdir()
        return export_weights(
            ExportRequest(
                recipe=recipe, policy=policy, out=out, form=form, type=kind, prompts=TALKS
            )
        )

    return make


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Random models of every architecture whose rows are packed; do not write into them."""
    from update_pairs import write_model

    made: dict[str, Path] = {}

    def make(kind: str, **more: Any) -> Path:
        name = "-".join([kind, *(f"{key}-{value}" for key, value in more.items())])
        if name not in made:
            made[name] = write_model(tmp_path_factory.mktemp(name), kind, **more)
        return made[name]

    return make

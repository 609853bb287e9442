"""Fixtures of the trl plugin's tests: a tiny model, recipes on it, open backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import Prompt, Recipe
from grpokit_trl.backend import TrlBackend
from grpokit_trl.config import TrlConfig
from tiny_model import write_tiny_model
from tiny_recipes import questions, tiny_recipe


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny products gain nothing from threads, and equal thread counts make runs bit-equal."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers and a character tokenizer. Do not write into it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def make_recipe(tiny_model_folder: Path) -> Callable[..., Recipe]:
    """A recipe on the tiny model; keyword arguments replace keys of a section."""

    def make(folder: Path | None = None, **sections: dict[str, Any]) -> Recipe:
        return tiny_recipe("trl", folder or tiny_model_folder, **sections)

    return make


@pytest.fixture
def open_backend() -> Iterator[Callable[..., Any]]:
    """Opens a backend for a recipe; closed after the test."""
    opened = []

    def make(recipe: Recipe, *, needs_reference: bool = False) -> TrlBackend:
        backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
        opened.append(backend)
        backend.open(recipe, needs_reference=needs_reference, needs_entropy=False)
        return backend

    yield make
    for backend in opened:
        backend.close()


@pytest.fixture
def make_prompts() -> Callable[..., list[Prompt]]:
    """Prompts of different lengths."""
    return questions

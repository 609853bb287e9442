"""Fixtures of the unsloth plugin's tests. Unsloth has an environment of its own (README.md of the plugin):

    python -m pytest plugins/grpokit-unsloth/tests

Elsewhere what needs it is skipped. It is imported by the first fixture that needs it, silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import Prompt, Recipe
from tiny_recipes import tiny_recipe

HERE = Path(__file__).parent
MISSING = [name for name in ("grpokit_unsloth", "unsloth") if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this environment cannot run, with the reason."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        needs = ["grpokit_unsloth"] if item.get_closest_marker("without_unsloth") else MISSING
        gone = [name for name in needs if name in MISSING]
        if gone:
            item.add_marker(pytest.mark.skip(reason=f"not installed here: {', '.join(gone)}"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "without_unsloth: runs where Unsloth is not installed")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers and a character tokenizer. Do not write into it."""
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def make_recipe(tiny_model_folder: Path) -> Callable[..., Recipe]:
    """A recipe on the tiny model; keyword arguments replace keys of a section."""

    def make(folder: Path | None = None, **sections: dict[str, Any]) -> Recipe:
        return tiny_recipe("unsloth", folder or tiny_model_folder, **sections)

    return make


@pytest.fixture
def open_backend() -> Iterator[Callable[..., Any]]:
    """Opens a backend for a recipe, through the catalog as a run does; closed after the test."""
    from grpokit.engine.session import make_backend
    from grpokit.registry.catalog import Catalog

    opened: list[Any] = []

    def make(recipe: Recipe, *, needs_reference: bool = False) -> Any:
        backend = make_backend(Catalog.load(), recipe)
        opened.append(backend)
        backend.open(recipe, needs_reference=needs_reference, needs_entropy=False)
        return backend

    yield make
    for backend in opened:
        backend.close()


@pytest.fixture
def prompts() -> list[Prompt]:
    """Prompts of different lengths."""
    texts = ("2+2?", "What is 13 + 29?", "a long question " * 3)
    return [
        Prompt(
            id=f"id-{index}",
            index=index,
            row={"answer": "4"},
            messages=({"role": "user", "content": text},),
        )
        for index, text in enumerate(texts)
    ]

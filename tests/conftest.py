"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_model import write_tiny_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file begins first, so that the other processes do not wait for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_quickstart.py")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with two layers and a character tokenizer. Do not write into it."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def make_tiny_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a variant: ``make_tiny_model("name", kind="llama", eos=...)``."""

    def make(name: str = "model", **settings: Any) -> Path:
        return write_tiny_model(tmp_path / name, **settings)

    return make

"""Runs of a small recipe, and its receipt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grpokit.compose.load import Loaded, load_recipe
from grpokit.compose.plan import make_plan, plan_json
from grpokit.receipts.build import build
from grpokit.receipts.model import Receipt
from grpokit.registry.catalog import Catalog
from receipt_runs import write_recipe, write_run

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


@pytest.fixture
def loaded(recipe: Path, catalog: Catalog) -> Loaded:
    return load_recipe(str(recipe), catalog=catalog)


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> dict[str, Any]:
    """Of the recipe as it stands."""
    path = write_recipe(tmp_path_factory.mktemp("plan"))
    return plan_json(make_plan(load_recipe(str(path), catalog=catalog), catalog))


@pytest.fixture
def make_run(recipe: Path, catalog: Catalog, plan: dict[str, Any]) -> Make:
    """``make_run(seed, trained=..., overrides=[...])``: a run's folder with its evaluation."""

    def make(seed: int = 1, **options: Any) -> Path:
        return write_run(recipe, catalog, plan, seed, **options)

    return make


@pytest.fixture(scope="session")
def receipt(
    tmp_path_factory: pytest.TempPathFactory, catalog: Catalog, plan: dict[str, Any]
) -> Receipt:
    path = write_recipe(tmp_path_factory.mktemp("receipt"))
    run = write_run(path, catalog, plan)
    return build([run], load_recipe(str(path), catalog=catalog), catalog)


@pytest.fixture
def rewrite() -> Callable[[Path, dict[str, Any]], None]:
    """Changes keys of a JSON file."""

    def write(path: Path, changes: dict[str, Any]) -> None:
        data = json.loads(path.read_text("utf-8")) | changes
        path.write_text(json.dumps(data), "utf-8")

    return write

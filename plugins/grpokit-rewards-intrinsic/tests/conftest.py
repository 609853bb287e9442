"""Rewards of this plugin as a worker builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit.scoring.scorer import RewardSetup


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load({"GRPOKIT_PLUGINS": "rewards-intrinsic,hf,trl"})


@pytest.fixture
def build(catalog: Catalog) -> Callable[..., Any]:
    """The reward function with these settings."""

    def make(name: str, **settings: Any) -> Any:
        return create(catalog.find("reward", name), settings)

    return make


@pytest.fixture
def setup_of(catalog: Catalog) -> Callable[..., RewardSetup]:
    def make(
        name: str, settings: Mapping[str, Any] | None = None, weight: float = 1.0
    ) -> RewardSetup:
        entry = catalog.find("reward", name)
        return RewardSetup(
            name=entry.spec.name, entry=entry, settings=settings or {}, weight=weight
        )

    return make

"""Which rows go through the model: CPPO's pruned ones do not, with and without a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import parity
from grpokit.engine.session import make_algorithm
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe
from grpokit_trl.backend import TrlBackend
from grpokit_trl.config import TrlConfig


@dataclass
class Counter:
    """Rows of prompt and completion that a model computed, with and without a gradient."""

    graded: list[tuple[int, ...]] = field(default_factory=list)
    plain: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, model: Any, args: Any, kwargs: Any) -> None:
        import torch

        ids = kwargs["input_ids"]
        table = self.graded if torch.is_grad_enabled() else self.plain
        for row, mask in zip(ids.tolist(), kwargs["attention_mask"].tolist(), strict=True):
            table.append(tuple(token for token, on in zip(row, mask, strict=True) if on))


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forwards")
    parity.write_fixed(folder)
    return folder


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("rate", [0.0, 0.75])
def test_pruned_rows_are_never_computed(fixed: Path, beta: float, lora: Any, rate: float):
    data = parity.recipe_data("trl", "cppo", fixed)
    data["algorithm"]["with"] = {"rate": rate, "beta": beta}
    data["optim"] |= {"iterations": 1}
    data["model"]["lora"] = lora
    data["backend"]["with"] = {"threads": 1, "device": "cpu"}
    recipe = Recipe.model_validate(data)
    algorithm = make_algorithm(Catalog.load(), recipe)
    backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=beta > 0, needs_entropy=False)
    policy, frozen = Counter(), Counter()
    backend.loaded.base.register_forward_pre_hook(policy, with_kwargs=True)
    if backend.reference.model is not None:
        backend.reference.model.register_forward_pre_hook(frozen, with_kwargs=True)
    try:
        found = parity.step(backend, algorithm, recipe, fixed, fixed / f"{beta}{bool(lora)}{rate}")
    finally:
        backend.close()

    kept = {(p, g) for p, g, _ in found["selected"]}
    assert len(kept) == 16 * (1 - rate)
    live = [(p, g) for p, g, weight in found["selected"] if weight]
    wanted = sorted(row_of(backend_rows(fixed), found, p, g) for p, g in live)
    assert sorted(policy.graded) == wanted
    reference = policy.plain if lora else frozen.plain
    assert sorted(reference) == (wanted if beta else [])
    assert not frozen.graded
    if not lora:
        assert not policy.plain


def backend_rows(fixed: Path) -> list[list[dict[str, Any]]]:
    import json

    groups: list[list[dict[str, Any]]] = json.loads((fixed / "rollout.json").read_text())
    return groups


def row_of(groups: Any, found: Any, p: int, g: int) -> tuple[int, ...]:
    return (*found["prompt_ids"][p], *groups[p][g]["ids"])

"""The plan's estimate of memory for the step that is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.bench.step.grid import Cell, Settings
from grpokit.bench.step.work import step_recipe
from grpokit.compose.footprint import estimate
from grpokit.registry.resolve import resolve
from grpokit.spec.components import BackendSpec
from grpokit.spec.recipe import Recipe

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["PROCESS", "planned_memory"]

PROCESS = 2**30
"""What a process with its libraries takes before the model, as a plan counts it on a CPU."""


def planned_memory(
    cell: Cell, settings: Settings, folder: str, catalog: Catalog
) -> dict[str, Any] | None:
    """Bytes by part, and the peak, of grpokit's own step on the backend ``hf``; None if not known."""
    if not catalog.matches("backend", "hf"):
        return None
    entry = catalog.find("backend", "hf")
    spec = entry.spec
    if not isinstance(spec, BackendSpec) or not spec.preflight:
        return None
    data = step_recipe(cell, settings, folder)
    own = {"device": settings.device, "threads": settings.threads}
    recipe = Recipe.model_validate({**data, "backend": {"use": "hf", "with": own}})
    told = resolve(spec.preflight, entry)(recipe)
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    found = estimate(
        recipe,
        config,
        facts=told.memory,
        prompt_tokens=cell.prompt,
        shared_prefix=told.shared_prefix,
    )
    return None if found is None else {"parts": dict(found.parts), "peak": found.peak}

"""What a step really asks: an algorithm may want other numbers of questions or tokens than ``rollout``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from grpokit.errors import GrpokitError
from grpokit.registry.resolve import build_config

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe, Use

__all__ = ["as_asked", "columns_asked"]


def as_asked(recipe: Recipe, catalog: Catalog) -> Recipe:
    """The recipe with the questions and the longest completion of a step's first round.

    Asks the settings of the algorithm and of its replaced parts (``asks``, see ``Config``). A part
    takes the place of what the algorithm does on its axis, and so do its numbers.
    """
    rollout = recipe.rollout
    given = (rollout.prompts, rollout.max_tokens)
    prompts, max_tokens = _asks(recipe.algorithm, catalog, given)
    parts = recipe.algorithm.parts
    if "allocate" in parts:
        prompts = _asks(parts["allocate"], catalog, given)[0]
    if "rollout" in parts:
        max_tokens = _asks(parts["rollout"], catalog, given)[1]
    if (prompts, max_tokens) == given:
        return recipe
    changed = rollout.model_copy(update={"prompts": prompts, "max_tokens": max_tokens})
    return recipe.model_copy(update={"rollout": changed})


def columns_asked(recipe: Recipe, catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Key of the algorithm or of a part to the columns that its settings name (``columns``)."""
    uses = {"algorithm": recipe.algorithm} | {
        f"algorithm.parts.{axis}": part for axis, part in recipe.algorithm.parts.items()
    }
    configs = {key: _config(use, catalog) for key, use in uses.items()}
    return {key: config.columns() for key, config in configs.items() if hasattr(config, "columns")}


def _asks(use: Use, catalog: Catalog, given: tuple[int, int]) -> tuple[int, int]:
    config = _config(use, catalog)
    if not hasattr(config, "asks"):
        return given
    prompts, max_tokens = given
    asked: tuple[int, int] = config.asks(prompts=prompts, max_tokens=max_tokens)
    return asked


def _config(use: Use, catalog: Catalog) -> Any:
    """Settings of a component; None where they are wrong, which is reported elsewhere."""
    try:
        return build_config(catalog.find("algorithm", use.use), use.with_)
    except (GrpokitError, ValidationError):
        return None

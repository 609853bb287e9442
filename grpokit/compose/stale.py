"""What follows for a run whose rounds are drawn with the weights of the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpokit.errors import ComponentError
from grpokit.spec.components import AlgorithmSpec
from grpokit.spec.contracts import Problem

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["stale_problems"]

NONE = "no-correction"


def stale_problems(recipe: Recipe, catalog: Catalog) -> list[Problem]:
    """That completions are one step old; and a warning where nothing weighs that.

    A warning only: with small steps the difference is small, and an algorithm may mean to ignore it.
    """
    if not recipe.rollout.staleness:
        return []
    found = [
        Problem(
            level="info",
            code="P215",
            key="rollout.staleness",
            fact="the first round of each step is drawn one step ahead, with the weights from before "
            "the last update",
            remedy="the metrics `staleness` and `sampler_gap` show how old, and how far off",
        )
    ]
    if _correction(recipe, catalog) == NONE:
        found.append(
            Problem(
                level="warning",
                code="P215",
                key="algorithm.parts.correction",
                fact="completions are one step old, and the algorithm trains on them as if they were "
                "its own",
                remedy="--set algorithm.parts.correction.use=truncate weighs them by "
                "pi_old / pi_sampler; or rollout.staleness: 0",
            )
        )
    return found


def _correction(recipe: Recipe, catalog: Catalog) -> str:
    """Bare name of what stands on the axis; empty where the algorithm does not say."""
    section = recipe.algorithm
    try:
        if "correction" in section.parts:
            return catalog.find("algorithm", section.parts["correction"].use).spec.name
        spec = catalog.find("algorithm", section.use).spec
    except ComponentError:
        return ""  # reported elsewhere
    names = dict(spec.parts).get("correction", ()) if isinstance(spec, AlgorithmSpec) else ()
    return names[0] if names else ""

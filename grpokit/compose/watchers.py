"""Whether the callbacks of a recipe can run here: asked before anything heavy is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from grpokit.errors import GrpokitError
from grpokit.registry.resolve import build_config, resolve
from grpokit.spec.components import CallbackSpec
from grpokit.spec.contracts import Problem

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["callback_problems"]


def callback_problems(recipe: Recipe, catalog: Catalog) -> Iterator[Problem]:
    """What each callback says of its settings here, such as a package that is not installed.

    One that cannot be found is told with the other components.
    """
    for number, use in enumerate(recipe.callbacks):
        key = f"callbacks.{number}"
        found = catalog.matches("callback", use.use)
        if len(found) != 1:
            continue
        (entry,) = found
        spec = entry.spec
        try:
            if isinstance(spec, CallbackSpec) and spec.preflight:
                judge = resolve(spec.preflight, entry)
                for problem in judge(build_config(entry, use.with_)):
                    yield replace(problem, code=problem.code or "P216", key=problem.key or key)
            resolve(spec.target, entry)
        except GrpokitError as error:
            yield Problem(level="error", fact=error.fact, remedy=error.remedy, code="P210", key=key)

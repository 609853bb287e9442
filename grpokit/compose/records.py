"""The components of a recipe with version and source hash, so that a change can be noticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.rules import reward_name
from grpokit.errors import GrpokitError
from grpokit.registry.builtin import CORE
from grpokit.registry.resolve import source_hash
from grpokit.spec.contracts import Problem
from grpokit.spec.plan import ComponentRecord

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.spec.recipe import Recipe, Use

__all__ = ["component_records", "uses"]


def component_records(
    loaded: Loaded, catalog: Catalog
) -> tuple[tuple[ComponentRecord, ...], tuple[Problem, ...]]:
    """A record for each component that the recipe names, and a problem for each that is missing."""
    records, problems = [], []
    for role, kind, key, use in uses(loaded.recipe):
        try:
            entry = catalog.find(kind, use.use)
        except GrpokitError as error:
            problems.append(
                Problem(level="error", fact=error.fact, remedy=error.remedy, code="P210", key=key)
            )
            continue
        records.append(
            ComponentRecord(
                role=role,
                kind=kind,
                id=entry.id,
                plugin=entry.plugin.name,
                distribution=entry.plugin.distribution,
                version=entry.plugin.version,
                source_hash=source_hash(entry),
                settings=_settings(loaded, key, use),
            )
        )
    records += [
        ComponentRecord(
            role=entry.kind,
            kind=entry.kind,
            id=entry.id,
            plugin=entry.plugin.name,
            distribution=entry.plugin.distribution,
            version=entry.plugin.version,
            source_hash=source_hash(entry),
            settings={},
        )
        for entry in _named(loaded.recipe, catalog)
    ]
    return tuple(records), tuple(problems)


def _named(recipe: Recipe, catalog: Catalog) -> Iterator[Entry]:
    """What may be named without being a component: the prompt template and the model."""
    for kind, name in (("prompt", recipe.prompt.use), ("model", recipe.model.id)):
        found = catalog.matches(kind, name)
        if len(found) == 1 and not (kind == "prompt" and found[0].plugin.name == CORE):
            yield found[0]


def _settings(loaded: Loaded, key: str, use: Use) -> Mapping[str, Any]:
    """With defaults where the loader filled them in."""
    filled: Mapping[str, Any] | None = (loaded.settings or {}).get(key)
    return use.with_ if filled is None else filled


def uses(recipe: Recipe) -> Iterator[tuple[str, str, str, Use]]:
    """(role, kind, dotted key, use) of every component."""
    yield "dataset", "dataset", "dataset", recipe.dataset
    for number, reward in enumerate(recipe.rewards):
        yield f"reward {reward_name(reward)}", "reward", f"rewards.{number}", reward
    yield "algorithm", "algorithm", "algorithm", recipe.algorithm
    for axis, part in recipe.algorithm.parts.items():
        yield f"algorithm {axis}", "algorithm", f"algorithm.parts.{axis}", part
    yield "backend", "backend", "backend", recipe.backend
    if recipe.eval.dataset is not None:
        yield "eval dataset", "dataset", "eval.dataset", recipe.eval.dataset
    for number, reward in enumerate(recipe.eval.rewards or ()):
        yield f"eval reward {reward_name(reward)}", "reward", f"eval.rewards.{number}", reward
    if recipe.eval.lenient is not None:
        yield "lenient reward", "reward", "eval.lenient", recipe.eval.lenient
    for number, callback in enumerate(recipe.callbacks):
        yield f"callback {callback.use}", "callback", f"callbacks.{number}", callback

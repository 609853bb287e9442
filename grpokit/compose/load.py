"""From a name or a path to a checked recipe. All problems at once, each at its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.compose.check import apply_resets, validate
from grpokit.compose.components import check_components
from grpokit.compose.diagnostics import Diagnostic, Report
from grpokit.compose.extends import read_with_bases
from grpokit.compose.library import Found, Library
from grpokit.compose.nodes import Node, at, dotted, to_data
from grpokit.compose.nodes import Path as KeyPath
from grpokit.compose.overrides import apply_overrides
from grpokit.compose.prompts import TEMPLATES, with_texts
from grpokit.compose.semantics import check_semantics
from grpokit.spec.components import PromptSpec
from grpokit.spec.config import Config
from grpokit.spec.recipe import Recipe

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["Loaded", "load_recipe", "resolved"]

_CASCADES = frozenset({"K402", "K412"})
"""What is said of keys that stand in a part which could not be read."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A checked recipe and where its values came from.

    Attributes:
        recipe: with every default filled in.
        name: short name, for the run directory.
        path: the file, where there is one.
        data: the merged recipe as written, without defaults: a recipe that extends nothing.
        provenance: dotted key of every value of ``recipe`` and of the components' settings ->
            ``file:line:col``, ``--set key`` or ``default``.
        notes: what its author should know, though it runs.
        settings: dotted key of a component -> all its settings, defaults filled in.
        sources: the files that it was read from: its own, then those that it extends.
    """

    recipe: Recipe
    name: str
    path: Path | None
    data: dict[str, Any]
    provenance: dict[str, str]
    notes: tuple[Diagnostic, ...] = ()
    settings: dict[str, dict[str, Any]] | None = None
    sources: tuple[Found, ...] = ()


def load_recipe(
    name_or_path: str,
    *,
    overrides: Sequence[str] = (),
    catalog: Catalog,
    cwd: Path | None = None,
) -> Loaded:
    """Reads, merges and checks a recipe.

    Args:
        name_or_path: a file (ends in ``.yaml``, or begins with ``.``, ``/`` or ``~``) or a name.
        overrides: ``a.b=c``, laid on it from left to right.
        catalog: the installed components.
        cwd: folder that relative paths start from.

    Raises:
        RecipeError: with every problem in ``problems``.
    """
    report = Report()
    library = Library(catalog, cwd or Path.cwd())
    found = library.find(name_or_path, report)
    sources: list[Found] = []
    tree = None if found is None else read_with_bases(found, library, report, sources)
    if found is None or tree is None:
        raise report.fail(name_or_path)
    unread = any(item.code[0] in "FYX" for item in report.errors)
    tree = apply_overrides(tree, tuple(overrides), report)
    tree = apply_resets(tree, Recipe)
    checked = Report()
    tree, named = check_components(tree, catalog, checked)
    recipe = validate(Recipe, tree, checked)
    recipe, words = _with_prompt(recipe, catalog)
    check_semantics(tree, recipe, named, checked)
    report.more += checked.more
    report.extend(item for item in checked.items if not (unread and item.code in _CASCADES))
    if report.errors or recipe is None:
        raise report.fail(name_or_path)
    configs = {key: item.config for key, item in named.items() if item.config is not None}
    settings = {key: one.model_dump(mode="json", by_alias=True) for key, one in configs.items()}
    return Loaded(
        recipe=recipe,
        name=found.name,
        path=found.path,
        data=to_data(tree),
        provenance=_provenance(tree, recipe, settings, _filled(configs), words),
        notes=report.notes,
        settings=settings,
        sources=tuple(sources),
    )


def _with_prompt(recipe: Recipe | None, catalog: Catalog) -> tuple[Recipe | None, dict[str, str]]:
    """The recipe with the texts of a plugin's prompt template, and the origin of each."""
    if recipe is None or recipe.prompt.use in TEMPLATES:
        return recipe, {}
    found = catalog.matches("prompt", recipe.prompt.use)
    if len(found) != 1 or not isinstance(found[0].spec, PromptSpec):
        return recipe, {}  # reported already
    prompt = with_texts(recipe.prompt, found[0].spec)
    changed = [key for key, value in prompt if value != getattr(recipe.prompt, key)]
    origin = f"prompt {found[0].origin}"
    return recipe.model_copy(update={"prompt": prompt}), dict.fromkeys(changed, origin)


def resolved(loaded: Loaded) -> dict[str, Any]:
    """The recipe with every default, those of the components' settings too."""
    data: dict[str, Any] = loaded.recipe.model_dump(mode="json", by_alias=True)
    for key, settings in (loaded.settings or {}).items():
        place: Any = data
        for step in key.split("."):
            place = place[int(step)] if isinstance(place, list) else place[step]
        place["with"] = settings
    return data


def _provenance(
    tree: Node,
    recipe: Recipe,
    settings: dict[str, dict[str, Any]],
    filled: dict[str, str],
    words: Mapping[str, str],
) -> dict[str, str]:
    shell = Loaded(recipe=recipe, name="", path=None, data={}, provenance={}, settings=settings)
    found: dict[str, str] = {}
    for path in _leaf_paths(resolved(shell)):
        name, node = dotted(path), at(tree, path)
        origin = words.get(str(path[1]), "default") if path[0] == "prompt" else "default"
        found[name] = filled.get(name, origin) if node is None else str(node.mark)
    return found


def _filled(configs: dict[str, Config]) -> dict[str, str]:
    """Dotted path to origin of settings that another setting chose, such as ``like``."""
    return {
        f"{key}.with.{name}": origin
        for key, config in configs.items()
        for name, origin in getattr(config, "origins", dict)().items()
    }


def _leaf_paths(data: Any, prefix: KeyPath = ()) -> list[KeyPath]:
    if isinstance(data, dict) and data:
        return [p for key, value in data.items() for p in _leaf_paths(value, (*prefix, key))]
    if isinstance(data, list) and data:
        return [p for i, value in enumerate(data) for p in _leaf_paths(value, (*prefix, i))]
    return [prefix]

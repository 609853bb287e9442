"""What ``rewards try`` and ``rewards check`` are asked, as rewards, rows and completions."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.cli.consent import tell
from grpokit.errors import PreflightError, RecipeError

if TYPE_CHECKING:
    from grpokit.probes.library import Way
    from grpokit.registry.catalog import Catalog, Entry
    from grpokit.scoring.scorer import RewardSetup
    from grpokit.spec.flow import Prompt
    from grpokit.spec.recipe import Recipe

__all__ = [
    "columns_of",
    "completion_of",
    "prompt_of",
    "prompts_of",
    "recipe_of",
    "setup_of",
    "way_of",
]


def recipe_of(catalog: Catalog, name: str, overrides: list[str] | None = None) -> Recipe:
    """A recipe by file or name."""
    from grpokit.compose.load import load_recipe

    loaded = load_recipe(name, overrides=overrides or (), catalog=catalog)
    tell(loaded.notes)
    return loaded.recipe


def prompts_of(catalog: Catalog, recipe: Recipe, count: int) -> list[Prompt]:
    """The first rows of the recipe's data set that have a prompt."""
    from grpokit.compose.data import open_dataset
    from grpokit.compose.prompts import make_prompt

    dataset = open_dataset(catalog, recipe.dataset)
    known = count if dataset.size is None else min(count, dataset.size)
    return [make_prompt(recipe.prompt, dataset[index], index) for index in range(known)]


def prompt_of(catalog: Catalog, recipe: Recipe | None, index: int | None) -> Prompt:
    """One row of the recipe's data set, the first if nobody says which; an empty one without a recipe."""
    from grpokit.compose.data import open_dataset
    from grpokit.compose.prompts import make_prompt
    from grpokit.spec.flow import Prompt

    if recipe is None:
        if index is not None:
            raise RecipeError("--index is a row of a recipe", remedy="name one with --recipe")
        return Prompt(id="", index=0, row={}, messages=())
    index = index or 0
    dataset = open_dataset(catalog, recipe.dataset)
    if dataset.size is not None and index >= dataset.size:
        raise RecipeError(
            f"there is no row {index}; the data set has {dataset.size:,}",
            place="--index",
            remedy=f"choose 0 to {dataset.size - 1}",
        )
    return make_prompt(recipe.prompt, dataset[index], index)


def setup_of(entry: Entry, given: list[str] | None, recipe: Recipe | None) -> RewardSetup:
    """The reward with its settings: the recipe's, where it names the reward, and those given."""
    from grpokit.compose.overrides import read_settings
    from grpokit.compose.settings import check_settings
    from grpokit.scoring.scorer import RewardSetup

    named = [
        section
        for section in (recipe.rewards if recipe else ())
        if section.use in (entry.id, entry.spec.name)
    ]
    settings = {**(named[0].with_ if named else {}), **read_settings(given or [])}
    check_settings(entry, settings)
    return RewardSetup(name=entry.spec.name, entry=entry, settings=settings)


def completion_of(text: str | None, file: Path | None) -> str:
    """The completion that was given; ``-`` is standard input."""
    if (text is None) == (file is None):
        raise RecipeError(
            "give --completion TEXT or --file FILE (- is standard input)",
            place="grpokit rewards try",
        )
    if text is not None:
        return text
    assert file is not None
    try:
        found = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise PreflightError(f"cannot be read: {error.strerror}", place=str(file)) from error
    return found.decode("utf-8", "surrogateescape")


def columns_of(text: str | None) -> Mapping[str, Any]:
    """A row, from JSON."""
    if text is None:
        return {}
    try:
        data: object = json.loads(text)
    except ValueError as error:
        raise RecipeError(
            f"no JSON: {error}", place="--row", remedy='write \'{"answer": "4"}\''
        ) from error
    if not isinstance(data, dict):
        raise RecipeError("no JSON object", place="--row", remedy='write \'{"answer": "4"}\'')
    return data


def way_of(before: str, opening: str | None, closing: str) -> Way | None:
    """The declared way to write an answer; None is to be found."""
    from grpokit.probes.library import Way

    if opening is None:
        if before or closing:
            raise RecipeError(
                "--before and --close go with --open",
                remedy='write --open "<answer>", or --open ""',
            )
        return None
    return Way(name="as given", before=before, open=opening, close=closing, after="")

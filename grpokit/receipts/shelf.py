"""The receipt beside a recipe: ``quickstart.yaml`` and ``quickstart.receipt.json``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from grpokit.compose.diagnostics import Diagnostic, Report
from grpokit.compose.library import Library
from grpokit.errors import RecipeError
from grpokit.receipts.model import SUFFIX, Receipt, read
from grpokit.receipts.values import changes, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpokit.compose.library import Found
    from grpokit.compose.load import Loaded

__all__ = ["RECEIPT_CODES", "asked", "name_of_file", "note", "receipt_of", "stem"]

RECEIPT_CODES: dict[str, str] = {
    "Q701": "The receipt beside the recipe cannot be read (note).",
    "Q702": "The receipt beside the recipe is of another recipe (note).",
}
"""What `recipes check` says of a receipt. It stops no run."""


def stem(found: Found) -> str:
    """The recipe's file name without its suffix."""
    return found.source.name.rpartition(".")[0]


def name_of_file(found: Found) -> str:
    """What the receipt's file is called."""
    return stem(found) + SUFFIX


def receipt_of(found: Found) -> Receipt | None:
    """The receipt beside a recipe; None without one.

    Raises:
        RecipeError: there is one, and it cannot be read.
    """
    file = found.beside(name_of_file(found))
    if file is None or not file.is_file():
        return None
    place = f"{found.file.rpartition('.')[0] if found.path else found.name}{SUFFIX}"
    return read(file, place)


def note(loaded: Loaded) -> Diagnostic | None:
    """What is wrong with the receipt beside a recipe: it cannot be read, or is of another recipe."""
    own = loaded.sources[0]
    try:
        receipt = receipt_of(own)
    except RecipeError as error:
        return _note("Q701", own, error.fact, error.remedy)
    if receipt is None:
        return None
    found = changes(receipt.recipe.values, values_of(loaded), loaded.provenance).words
    if not found:
        return None
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    told = f"the receipt is of another recipe: {found[0]}{more}"
    return _note(
        "Q702",
        own,
        told,
        f"grpokit recipes verify {shlex.quote(own.name if own.plugin else own.file)} says all",
    )


def _note(code: str, own: Found, message: str, remedy: str) -> Diagnostic:
    file = f"{own.file.rpartition('.')[0] if own.path else own.name}{SUFFIX}"
    return Diagnostic(
        code=code, message=message, remedy=remedy, file=file, line=1, col=1, level="note"
    )


def asked(name: str, library: Library, plugins: Sequence[str]) -> list[Found]:
    """The recipes that a person means: one, or those of a plugin that carry a receipt.

    Raises:
        RecipeError: there is nothing of that name, or nothing with a receipt.
    """
    if name.endswith(SUFFIX):
        name = _recipe_beside(Path(name))
    if name not in library.named and name in plugins:
        return _of_plugin(name, library)
    report = Report()
    found = library.find(name, report)
    if found is None:
        raise report.fail(name)
    return [found]


def _of_plugin(name: str, library: Library) -> list[Found]:
    recipes = [found for found in library.named.values() if found.plugin == name]
    found = [each for each in recipes if _carries(each)]
    if not found:
        raise RecipeError(
            f"the plugin {name} has no {'recipe with a receipt' if recipes else 'recipes'}",
            place=name,
            remedy="`grpokit recipes list` shows which recipes have one",
        )
    return found


def _carries(found: Found) -> bool:
    file = found.beside(name_of_file(found))
    return file is not None and file.is_file()


def _recipe_beside(receipt: Path) -> str:
    for suffix in (".yaml", ".yml"):
        recipe = receipt.with_name(receipt.name.removesuffix(SUFFIX) + suffix)
        if recipe.is_file():
            return str(recipe)
    raise RecipeError(
        "no recipe lies beside this receipt",
        place=str(receipt),
        remedy="name the recipe: grpokit recipes verify RECIPE --receipt FILE",
    )

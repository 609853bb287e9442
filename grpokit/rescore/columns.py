"""Columns that the rollouts do not keep, read again from the run's data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.errors import PreflightError
from grpokit.rescore.saved import SavedStep

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["DatasetRows"]

Row = Mapping[str, Any]


class DatasetRows:
    """The rows of saved groups. A row that asks another question now is an error, not a guess."""

    def __init__(self, catalog: Catalog, recipe: Recipe) -> None:
        self._dataset = open_dataset(catalog, recipe.dataset)
        self._prompt = recipe.prompt
        self._checked: set[tuple[int, str]] = set()
        self.columns = tuple(self._dataset.columns)

    def __call__(self, saved: SavedStep) -> list[Row]:
        return [self._row(group["prompt"]) for group in saved.groups]

    def _row(self, prompt: Mapping[str, Any]) -> Row:
        index, identity = prompt["index"], prompt["id"].partition("#")[0]
        try:
            row = self._dataset[index]
        except IndexError as error:
            raise _other(index) from error
        if (index, identity) not in self._checked:
            if make_prompt(self._prompt, row, index).id != identity:
                raise _other(index)
            self._checked.add((index, identity))
        return row


def _other(index: int) -> PreflightError:
    return PreflightError(
        "the data set has another question or answer there than the run had",
        place=f"data set row {index}",
        remedy="bring back the data of the run, or use a reward that needs only `answer`",
    )

"""What `grpokit difficulty` found out about the rows of a data set, as columns of these rows.

The file's first line says of which model, data set and way of asking; then comes a line a row. Data sets are
compared by content before a row is used, models and the way of asking in the plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.errors import PreflightError
from grpokit.spec.contracts import Dataset, Problem, Row

if TYPE_CHECKING:
    from grpokit.spec.recipe import Recipe

__all__ = [
    "COLUMNS",
    "FORMAT",
    "KIND",
    "Difficulty",
    "MeasuredDataset",
    "asked_of",
    "difficulty_problems",
    "model_of",
    "read_difficulty",
]

COLUMNS = ("pass_rate", "mean_total")
"""What it adds to a row."""
KIND, FORMAT = "grpokit difficulty", 1
PLACE = "dataset.difficulty"


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """A file of `grpokit difficulty`.

    Attributes:
        head: its first line.
        rows: position in the data set to the columns; those without a pass rate are not here.
    """

    path: Path
    head: Mapping[str, Any]
    rows: Mapping[int, Mapping[str, float | None]]


class MeasuredDataset:
    """The rows that were measured, in their order, with what was found."""

    def __init__(self, inner: Dataset, found: Difficulty) -> None:
        self._inner = inner
        self._found = found
        self._order = sorted(found.rows)

    @property
    def size(self) -> int:
        return len(self._order)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._inner.columns, *COLUMNS)))

    @property
    def skipped(self) -> tuple[str, ...]:
        """What the data set itself left out."""
        return tuple(getattr(self._inner, "skipped", ()))

    @property
    def fingerprint(self) -> str:
        """Changes with the content and with what was measured."""
        text = json.dumps([self._inner.fingerprint, sorted(self._found.rows.items())], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self._order):
            raise IndexError(f"row {index} of a data set with {self.size} rows")
        place = self._order[index]
        return {**self._inner[place], **self._found.rows[place]}


def read_difficulty(path: Path, inner: Dataset) -> Difficulty:
    """The file, which must be of this data set.

    Raises:
        PreflightError: it is not there, is damaged, is of another data set, or holds no pass rate.
    """
    again = f"measure the rows with `grpokit difficulty RECIPE --out {path}`"
    head, lines = _read(path, again)
    if head.get("kind") != KIND or head.get("format") != FORMAT:
        raise PreflightError(
            "this is no file of `grpokit difficulty`", place=str(path), remedy=again
        )
    if head.get("dataset") != inner.fingerprint:
        raise PreflightError(
            "these pass rates are of another data set, or of other settings or content of this one",
            place=str(path),
            remedy=f"{again}, or remove {PLACE}",
        )
    rows = {}
    try:
        for line in lines:
            if line["pass_rate"] is not None:
                rows[int(line["row"])] = {name: line[name] for name in COLUMNS}
    except (KeyError, TypeError, ValueError) as error:
        raise PreflightError("a row of it is damaged", place=str(path), remedy=again) from error
    if not rows:
        raise PreflightError("it holds no pass rate", place=str(path), remedy=again)
    return Difficulty(path=path, head=head, rows=rows)


def _read(path: Path, again: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        head, *lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    except OSError as error:
        fact = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise PreflightError(str(fact), place=str(path), remedy=again) from error
    except ValueError as error:
        raise PreflightError("it is damaged", place=str(path), remedy=again) from error
    if not isinstance(head, dict) or not all(isinstance(line, dict) for line in lines):
        raise PreflightError("it is damaged", place=str(path), remedy=again)
    return head, lines


def model_of(recipe: Recipe) -> dict[str, Any]:
    """What says which model was asked, as far as a recipe knows."""
    return {"id": recipe.model.id, "revision": recipe.model.revision}


def asked_of(recipe: Recipe) -> dict[str, Any]:
    """What else pass rates depend on: key of the recipe to a hash of what stands there."""
    rollout = recipe.rollout.model_dump(
        mode="json", include={"temperature", "top_p", "top_k", "min_p", "max_tokens"}
    )
    rewards = [each.model_dump(mode="json", by_alias=True) for each in recipe.rewards]
    data = {"prompt": recipe.prompt.model_dump(mode="json"), "rollout": rollout, "rewards": rewards}
    return {
        key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
        for key, value in data.items()
    }


def difficulty_problems(recipe: Recipe) -> list[Problem]:
    """A file of another model cannot be used; one that was asked in another way is doubtful."""
    path = recipe.dataset.difficulty
    if path is None:
        return []
    try:
        head, _ = _read(Path(path), "")
    except PreflightError:
        return []  # said where the data set is opened
    found = []
    model = head.get("model") or {}
    if {key: model.get(key) for key in ("id", "revision")} != model_of(recipe):
        found.append(
            Problem(
                level="error",
                fact=f"{path} holds pass rates of the model {model.get('id')!r:.80}, and this recipe trains "
                f"{recipe.model.id!r:.80}",
                remedy="measure them again with `grpokit difficulty` and another --out, or remove the key",
                code="P217",
                key=PLACE,
            )
        )
    asked = head.get("asked") or {}
    differ = [key for key, value in asked_of(recipe).items() if asked.get(key) != value]
    if differ:
        found.append(
            Problem(
                level="warning",
                fact=f"{path} was measured with other values of {', '.join(differ)}",
                remedy="measure again with `grpokit difficulty` and another --out",
                code="P218",
                key=PLACE,
            )
        )
    return found

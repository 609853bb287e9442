"""Opening a recipe's data set: column mapping and limit are applied here, once, for everybody."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.compose.diagnostics import did_you_mean
from grpokit.compose.difficulty import MeasuredDataset, read_difficulty
from grpokit.errors import PreflightError
from grpokit.registry.resolve import create
from grpokit.spec.contracts import Dataset
from grpokit.spec.recipe import DatasetSection

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["MappedDataset", "map_columns", "open_dataset"]

Row = Mapping[str, Any]


class MappedDataset:
    """A data set under the recipe's column names, cut to its first ``limit`` rows.

    Columns that are not mapped stay. A new name hides an old column of the same name, and the
    column it was taken from stays too: ``{answer: solution}`` gives both.
    """

    def __init__(self, inner: Dataset, *, columns: Mapping[str, str], limit: int | None) -> None:
        self._inner = inner
        self._columns = dict(columns)
        self._limit = limit

    @property
    def size(self) -> int | None:
        size = self._inner.size
        if self._limit is None:
            return size
        return self._limit if size is None else min(size, self._limit)

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names after mapping."""
        return tuple(dict.fromkeys((*self._inner.columns, *self._columns)))

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was left out, as ``place: reason``, where the data set knows it."""
        return tuple(getattr(self._inner, "skipped", ()))

    @property
    def fingerprint(self) -> str:
        """Changes with the content, with the mapping and with the limit."""
        if not self._columns and self._limit is None:
            return self._inner.fingerprint
        text = json.dumps([self._inner.fingerprint, self._columns, self._limit], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Row:
        size = self.size
        if index < 0 or (size is not None and index >= size):
            raise IndexError(f"row {index} of a data set with {size} rows")
        row = self._inner[index]
        if not self._columns:
            return row
        mapped = dict(row)
        for new, old in self._columns.items():
            if old not in row:
                raise PreflightError(
                    f"row {index} has no column {old!r}; it has {', '.join(map(str, row))}",
                    place="dataset.columns",
                    remedy="repair the row, or map from a column that every row has",
                )
            mapped[new] = row[old]
        return mapped


def map_columns(known: tuple[str, ...], mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of ``mapping`` (new, old) whose old column does not exist."""
    return [(new, old) for new, old in mapping.items() if old not in known]


def open_dataset(catalog: Catalog, section: DatasetSection) -> MappedDataset:
    """Opens the data set that a recipe names.

    Raises:
        PreflightError: it cannot be opened, has no rows, or lacks a mapped column; said before
            anything heavy is loaded.
    """
    entry = catalog.find("dataset", section.use)
    inner: Dataset = create(entry, section.with_)
    missing = map_columns(inner.columns, section.columns)
    if missing:
        new, old = missing[0]
        known = ", ".join(inner.columns) or "no columns"
        raise PreflightError(
            f"there is no column {old!r} to map to {new!r}; the data set has {known}",
            place=f"data set {entry.id}",
            remedy=did_you_mean(old, inner.columns) or "correct dataset.columns",
        )
    if inner.size == 0:
        raise PreflightError(
            "the data set has no rows",
            place=f"data set {entry.id}",
            remedy="choose another file, split or filter",
        )
    if section.difficulty is None:
        return MappedDataset(inner, columns=section.columns, limit=section.limit)
    found = read_difficulty(Path(section.difficulty).expanduser(), inner)
    mapped = MappedDataset(inner, columns=section.columns, limit=None)
    return MappedDataset(MeasuredDataset(mapped, found), columns={}, limit=section.limit)

"""Rows that stand in the recipe itself, for examples and tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from grpokit.api import Config

__all__ = ["InlineConfig", "InlineDataset"]


class InlineConfig(Config):
    """Settings of the data set `inline`."""

    rows: list[dict[str, Any]] = Field(min_length=1)
    """The rows; each has the same columns."""

    @field_validator("rows")
    @classmethod
    def _same_columns(cls, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for number, row in enumerate(rows):
            if row.keys() != rows[0].keys():
                mine, first = ", ".join(row), ", ".join(rows[0])
                raise ValueError(f"row {number} has the columns [{mine}], row 0 has [{first}]")
        return rows


class InlineDataset:
    """The rows of the recipe."""

    def __init__(self, config: InlineConfig) -> None:
        self._rows = config.rows
        self.size: int | None = len(self._rows)
        self.columns = tuple(self._rows[0])
        text = json.dumps(self._rows, sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._rows[index]

"""The answers of an evaluation on disk while it goes on, so that one that was interrupted continues.

    samples.partial.jsonl   a line {"model", "mark"} where a model begins, then a line an answer

It is gone when the evaluation is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError
from grpokit.evaluate.lines import append_lines, read_lines
from grpokit.evaluate.records import Item

__all__ = ["FILE", "Kept"]

FILE = "samples.partial.jsonl"
Key = tuple[str, int]


class Kept:
    """What is there of an evaluation in a folder, and what comes.

    Raises:
        CheckpointError: the file cannot be read or written, or is damaged elsewhere than in its last line.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._marks: dict[str, str] = {}
        self._new: dict[str, str] = {}  # marks that are not in the file yet
        self._items: dict[str, dict[Key, Item]] = {}
        try:
            self._read()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def begin(self, label: str, mark: str) -> dict[Key, Item]:
        """The answers of this model that are there, by question and sample.

        ``mark``: of everything that answers and marks depend on.

        Raises:
            CheckpointError: they are those of another model, or of other questions or rewards.
        """
        known = self._marks.get(label)
        if known is None:
            self._new[label] = mark
        elif known != mark:
            raise CheckpointError(
                f"the answers of {label} that are there are of another evaluation: of another model, or of "
                "other questions, settings, rewards or versions",
                place=str(self.path),
                remedy="name another folder with --out, or delete the file",
            )
        return self._items.get(label, {})

    def has(self, label: str) -> bool:
        """Whether answers of this model are there."""
        return bool(self._items.get(label))

    def add(self, label: str, items: Iterable[Item]) -> None:
        """Writes answers of a model that has begun; they are on the disk when this returns."""
        rows = [{"model": label, **asdict(item)} for item in items]
        if label in self._new:
            rows = [{"model": label, "mark": self._new[label]}, *rows]
        self._write(rows)
        self._new.pop(label, None)

    def end(self) -> None:
        """Everything is written elsewhere."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        for number, line in read_lines(self.path):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise self._unusable(f"line {number} is damaged") from error

    def _take(self, row: dict[str, Any]) -> None:
        label = row.pop("model")
        if "mark" in row:
            self._marks[label], self._items[label] = row["mark"], {}
            return
        item = Item(**row)
        self._items[label][item.id, item.sample] = item

    def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            append_lines(self.path, rows)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _unusable(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"the answers so far: {why}",
            place=str(self.path),
            remedy="make room or name another folder with --out; delete the file to begin anew",
        )

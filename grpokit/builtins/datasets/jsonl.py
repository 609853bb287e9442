"""A local file with one JSON object a line, plain or gzip-compressed.

Raw GSM8K rows (``{"question": ..., "answer": "... #### 18"}``) work as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from grpokit.api import Config, PreflightError

__all__ = ["JsonlConfig", "JsonlDataset"]

TOLD = 10
"""Bad lines that an error lists."""


class JsonlConfig(Config):
    """Settings of the data set `jsonl`."""

    path: str = Field(min_length=1)
    """The file, relative to the working directory; `.gz` is decompressed."""
    on_bad_row: Literal["error", "skip"] = "error"
    """A line that is no JSON object ends the run before it starts, or is left out."""


class JsonlDataset:
    """The rows of the file, in its order. A column that a row lacks is None there.

    ``skipped`` lists the lines that ``on_bad_row: skip`` left out, each as ``file:line: reason``.

    Raises:
        PreflightError: the file is missing, unreadable, empty or has bad lines; all are named.
    """

    def __init__(self, config: JsonlConfig) -> None:
        self.path = Path(config.path).expanduser()
        data = _read(self.path)
        self.fingerprint = hashlib.sha256(data).hexdigest()[:16]
        self._rows: list[Mapping[str, Any]] = []
        bad: list[tuple[int, str]] = []
        columns: dict[str, None] = {}
        nested: dict[str, tuple[bool, int]] = {}
        for number, line in _lines(data):
            try:
                row = _row(line)
                _check_kinds(row, nested, number)
            except ValueError as error:
                bad.append((number, str(error)))
                continue
            self._rows.append(row)
            columns.update(dict.fromkeys(row))
        if bad and (config.on_bad_row == "error" or not self._rows):
            raise _bad_lines(self.path, bad)
        if not self._rows:
            raise PreflightError(
                "it has no rows", place=str(self.path), remedy="give a file with JSON objects"
            )
        self.skipped = tuple(f"{self.path}:{number}: {reason}" for number, reason in bad)
        self.columns = tuple(columns)

    @property
    def size(self) -> int | None:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        row = self._rows[index]
        if len(row) < len(self.columns):
            return {name: row.get(name) for name in self.columns}
        return row


def _read(path: Path) -> bytes:
    place = str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        remedy = "check dataset.with.path; it is relative to the working directory"
        raise PreflightError(
            f"there is no such file (looked in {path.absolute().parent})",
            place=place,
            remedy=remedy,
        ) from error
    except OSError as error:
        raise PreflightError(
            f"it cannot be read: {error.strerror or error}", place=place, remedy="give a file"
        ) from error
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise PreflightError(
            f"it is a damaged gzip file: {error}", place=place, remedy="fetch it again"
        ) from error


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, without the byte-order mark."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"it is no whole JSON value: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(row, dict):
        kind = _KINDS.get(type(row), "value")
        raise ValueError(f"it is a JSON {kind} where an object is expected")  # noqa: TRY004  # caught
    return row


_KINDS = {
    list: "list",
    str: "text",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _no_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is no JSON")


def _check_kinds(row: Mapping[str, Any], nested: dict[str, tuple[bool, int]], number: int) -> None:
    """A column that is a list or an object in one row and plain in another is a mistake."""
    for name, value in row.items():
        if value is None:
            continue
        is_nested = isinstance(value, list | dict)
        before, line = nested.setdefault(name, (is_nested, number))
        if before != is_nested:
            words = ("a plain value", "a list or an object")
            raise ValueError(
                f"the column {name!r} is {words[is_nested]}, in line {line} it is {words[before]}"
            )


def _bad_lines(path: Path, bad: list[tuple[int, str]]) -> PreflightError:
    remedy = "repair the file, or set dataset.with.on_bad_row: skip"
    number, reason = bad[0]
    if len(bad) == 1:
        return PreflightError(reason, place=f"{path}:{number}", remedy=remedy)
    told = "; ".join(f"{path}:{number}: {reason}" for number, reason in bad[:TOLD])
    more = f"; and {len(bad) - TOLD} more" if len(bad) > TOLD else ""
    fact = f"{len(bad)} lines cannot be used: {told}{more}"
    return PreflightError(fact, place=str(path), remedy=remedy)

"""Rows with the place they stand at: of local files in several formats, and of the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpokit.api import PreflightError

__all__ = ["BadRow", "Raw", "hub_rows", "local_rows"]

Raw = Mapping[str, Any]
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")
LINES = (".jsonl", ".ndjson", "")
"""A file of the hub's cache has no suffix."""


class BadRow:
    """What stands where a row should be, and why it is none."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


Placed = tuple[str, Raw | BadRow]


def local_rows(path: str, split: str) -> Iterator[Placed]:
    """(place, row) of a file, or of the files of a split in a folder.

    Raises:
        PreflightError: there is nothing to read, or it cannot be read.
    """
    for file in _files(Path(path).expanduser(), split):
        yield from _rows_of(file)


def _files(path: Path, split: str) -> list[Path]:
    """The file itself; of a folder ``split.jsonl`` and the like, the hub's ``split-00000-of-...``, or
    the folder ``split`` with one problem a file.
    """
    if not path.exists():
        raise PreflightError(
            f"there is no such file or folder (looked in {path.absolute().parent})",
            place=str(path),
            remedy="check dataset.with.path; it is relative to the working directory",
        )
    if not path.is_dir():
        return [path]
    named = [
        path / f"{split}{suffix}" for suffix in SUFFIXES if (path / f"{split}{suffix}").is_file()
    ]
    found = (
        named[:1]
        or sorted(path.glob(f"{split}-*.parquet"))
        or sorted((path / split).rglob("*.json"), key=_natural)
    )
    if not found:
        raise PreflightError(
            f"the folder has no {split}.jsonl, {split}.json, {split}.parquet or folder {split}",
            place=str(path),
            remedy="name the file itself in dataset.with.path",
        )
    return found


def _natural(path: Path) -> tuple[str, int, str]:
    """``algebra/2.json`` before ``algebra/10.json``."""
    number = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else -1
    return str(path.parent), number, path.name


def _rows_of(path: Path) -> Iterator[Placed]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from _parquet(path)
        return
    suffix = Path(name).suffix
    if suffix not in (*LINES, ".json"):
        raise PreflightError(
            f"it is a {suffix} file; {', '.join(SUFFIXES)} are read",
            place=str(path),
            remedy="unpack an archive and name the folder, or write the rows as .jsonl",
        )
    data = _bytes(path)
    first = data.lstrip().partition(b"\n")[0]
    if suffix == ".json" and not (data.count(b"\n") > 1 and isinstance(_value(first), dict)):
        yield from _json(path, data)
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", _object(line)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        packed = data[:2] == b"\x1f\x8b"
        return (gzip.decompress(data) if packed else data).removeprefix(b"\xef\xbb\xbf")
    except (EOFError, OSError, zlib.error) as error:
        raise PreflightError(
            f"it cannot be read: {getattr(error, 'strerror', None) or error}",
            place=str(path),
            remedy="give a readable file",
        ) from error


def _json(path: Path, data: bytes) -> Iterator[Placed]:
    """One object, or a list of objects."""
    found = _value(data)
    if not isinstance(found, list):
        yield str(path), _as_row(found)
        return
    for number, item in enumerate(found):
        yield f"{path}: element {number}", _as_row(item)


def _parquet(path: Path) -> Iterator[Placed]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise PreflightError(
            "reading parquet needs the package pyarrow",
            place=str(path),
            remedy="pip install pyarrow, or give a .jsonl file",
        ) from error
    try:
        rows: list[Raw] = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"it is no parquet file: {str(error).splitlines()[0]}",
            place=str(path),
            remedy="fetch it again",
        ) from error
    for number, row in enumerate(rows):
        yield f"{path}: row {number}", row


def _object(line: bytes) -> Raw | BadRow:
    return _as_row(_value(line))


def _value(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(f"it is not UTF-8 (byte {error.start + 1})")
    except json.JSONDecodeError as error:
        return BadRow(f"it is no whole JSON value: {error.msg} (column {error.colno})")
    except RecursionError:
        return BadRow("it is nested too deeply")


def _as_row(value: Any) -> Raw | BadRow:
    if isinstance(value, dict | BadRow):
        return value
    return BadRow(f"it is a {type(value).__name__} where an object is expected")


def hub_rows(
    repository: str, name: str | None, split: str, revision: str | None
) -> Iterator[Placed]:
    """(place, row) of a data set of the hub, through the reader of grpokit-hf.

    Raises:
        PreflightError: the reader is not installed, or the data set is out of reach.
    """
    try:
        from grpokit_hf.hub import HubConfig, open_hub
    except ImportError as error:
        raise PreflightError(
            "reading the hub needs grpokit-hf, which is not installed",
            place=f"data set {repository}",
            remedy="pip install 'grpokit-math[hub]', or name a local file in dataset.with.path",
        ) from error
    try:
        table = open_hub(HubConfig(id=repository, name=name, split=split, revision=revision))
    except PreflightError as error:
        raise PreflightError(
            error.fact,
            place=error.place,
            remedy=f"run `hf download --repo-type dataset {repository}` where there is a network, or name "
            "a local file in dataset.with.path",
        ) from error
    for number in range(table.size or 0):
        yield f"{repository} {split}: row {number}", table[number]

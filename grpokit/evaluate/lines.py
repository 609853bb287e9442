"""A file of JSON lines that grows while something is measured, and survives a kill at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["append_lines", "read_lines"]


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file with their numbers; none without a file. A torn last line is cut off.

    Raises:
        OSError: it cannot be read, or not be cut.
    """
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):  # killed within a line
        os.truncate(path, len(whole))
    yield from enumerate(whole.splitlines(), start=1)


def append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows; they are on the disk when this returns.

    Raises:
        OSError: they are not.
    """
    text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
    with path.open("a", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

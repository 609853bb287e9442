"""``metrics.jsonl`` and ``rollouts.jsonl``: appended a step at a time, cut back exactly on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from grpokit.errors import CheckpointError

__all__ = ["JsonLines"]


class JsonLines:
    """A file of JSON objects, one a line.

    ``size`` goes into the checkpoint; ``cut`` brings the file back to it. So a run that was killed
    and resumed has each step once, and none is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows and flushes them to the disk. Raises CheckpointError if it is full."""
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"cannot be written: {error.strerror or error}",
                place=str(self.path),
                remedy="free disk space; the last checkpoint stands",
            ) from error

    def cut(self, size: int) -> None:
        """Drops everything after byte ``size``. Raises CheckpointError if the file is shorter."""
        if self.size < size:
            raise CheckpointError(
                f"the file has {self.size} bytes, but the checkpoint was made at {size}",
                place=str(self.path),
                remedy="restore the file, or start a new run",
            )
        if self.size > size:
            with self.path.open("r+b") as file:
                file.truncate(size)
                os.fsync(file.fileno())

    def keep(self, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Drops the rows that are not wanted, and a torn last line; for small files."""
        rows = self.read()
        kept = [row for row in rows if wanted(row)]
        if len(kept) < len(rows) or self._torn():
            self.replace(kept)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Other rows instead of all. Whoever reads sees the old ones or the new ones."""
        temporary = self.path.with_name(f".tmp-{self.path.name}-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        JsonLines(temporary).append(rows)
        temporary.replace(self.path)

    def read(self) -> list[dict[str, Any]]:
        """All complete rows; a torn last line is left out.

        Raises:
            CheckpointError: something else than this class wrote into the file.
        """
        if not self.path.exists():
            return []
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines[:-1] if line]
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"cannot be read: {error}",
                place=str(self.path),
                remedy="restore the file, or start a new run",
            ) from error

    def _torn(self) -> bool:
        data = self.path.read_bytes() if self.path.exists() else b""
        return bool(data) and not data.endswith(b"\n")

"""Files that commands of this package write."""

from __future__ import annotations

import os
from pathlib import Path

from grpokit.engine.checkpoint import write_atomic
from grpokit.errors import CheckpointError

__all__ = ["check_place", "unwritten", "write_text"]


def check_place(path: Path) -> None:
    """Says before anything is measured that a file could not be written there.

    Raises:
        CheckpointError: it is a folder, or its folder is not there or cannot be written.
    """
    folder = path.parent
    if path.is_dir():
        raise unwritten(path, "it is a folder")
    if not folder.is_dir():
        raise unwritten(path, f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise unwritten(path, "its folder cannot be written")


def write_text(path: Path, text: str) -> None:
    """The whole text or nothing.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        write_atomic(path, text)
    except OSError as error:
        raise unwritten(path, error.strerror or str(error)) from error


def unwritten(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"this file cannot be written: {why}", place=str(path), remedy="name another with --out"
    )

"""A new folder is written beside its place, and takes its name when everything in it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from grpokit.spec.pids import alive

__all__ = ["aside", "files_of"]


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """The folder to write into. It becomes ``folder``, in place of an older one, or vanishes.

    What killed processes left of the same name is removed first.
    """
    folder = folder.absolute()  # "." has no name
    work = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    try:
        _clean(folder)
        work.mkdir(parents=True)
        yield work
        _open_to_all(work)
        if folder.exists():
            old = folder.with_name(f".tmp-old-{folder.name}-{os.getpid()}")
            folder.rename(old)
            work.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def files_of(folder: Path) -> list[Path]:
    """Every file of a folder and of those in it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _clean(folder: Path) -> None:
    for kind in (".tmp-", ".tmp-old-"):
        for path in folder.parent.glob(f"{kind}{escape(folder.name)}-*"):
            number = path.name.removeprefix(f"{kind}{folder.name}-")
            if number.isdecimal() and (int(number) == os.getpid() or not alive(int(number))):
                shutil.rmtree(path, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    """The user's usual rights (some writers leave files that only he can read), flushed to the disk."""
    mask = os.umask(0)
    os.umask(mask)
    for path in files_of(folder):
        path.chmod((0o666 | path.stat().st_mode & 0o111) & ~mask)
        with path.open("rb") as file:
            os.fsync(file.fileno())

"""The folder through which weights travel: the run's own, and gone with it.

A run that is killed cannot take its folder away, and in ``/dev/shm`` it would keep main memory until
the machine starts again. So a run holds a lock on its folder, and the next one takes those away
that nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Scratch", "sweep"]

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with an unguessable name is made in it
PREFIX = "grpokit-vllm-"
ROOM = 4
"""The folder lies in memory if that has room for the weights this many times."""
NEW = 60.0
"""Seconds in which a folder may have no lock yet."""


@dataclass
class Scratch:
    """A new folder with a lock on it.

    Attributes:
        path: the folder.
        lock: descriptor that holds the lock; it ends with the process.
    """

    path: Path
    lock: int = -1

    @classmethod
    def make(cls, asked: Path | None, size: int) -> Scratch:
        """For ``size`` bytes of weights twice over; in ``asked``, which others may share, or here."""
        if asked is not None:
            asked.mkdir(parents=True, exist_ok=True)
            return cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=asked)))
        places = [place for place in (MEMORY, Path(tempfile.gettempdir())) if place.is_dir()]
        for place in places:
            sweep(place)
        roomy = MEMORY in places and shutil.disk_usage(MEMORY).free > ROOM * size
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=MEMORY if roomy else None))
        return cls(path, locked(path) or -1)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a folder; None where another process has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sweep(place: Path) -> None:
    """Takes away what killed runs of this user left in ``place``."""
    for path in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < NEW:
                continue
            lock = locked(path)  # None for the log files, too
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)

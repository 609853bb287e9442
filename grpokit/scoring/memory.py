"""How much memory a reward's process may take. Linux counts it; elsewhere there is no limit.

The limit is on what the process has of its own and can write to (``RLIMIT_DATA``), not on its
addresses: importing torch reserves gigabytes of these and fills a quarter of one. The last part is
kept back, so that a reward that has taken everything can still be reported.
"""

from __future__ import annotations

import contextlib
import sys

__all__ = ["GIB", "MEMORY", "limit", "limited", "release_reserve"]

GIB = 1 << 30
MEMORY = 16.0
"""GiB, unless a recipe says otherwise."""
RESERVE = 1 << 28

_LIMITED: list[float] = []


def limit(gib: float | None) -> None:
    """Limits this process, and each that it starts, to ``gib``. For a worker: it cannot be undone."""
    if gib is None or sys.platform != "linux":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gib * GIB)
    top = wanted + RESERVE
    if hard != resource.RLIM_INFINITY:
        top = min(top, hard)
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    with contextlib.suppress(OSError, ValueError):  # a limit of the system that is lower still
        resource.setrlimit(resource.RLIMIT_DATA, (min(wanted, top), top))
        _LIMITED[:] = [gib]


def limited() -> float | None:
    """The limit that this process has been given, in GiB."""
    return _LIMITED[0] if _LIMITED else None


def release_reserve() -> None:
    """Lets the process have its last part, to say what happened."""
    if not _LIMITED:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))

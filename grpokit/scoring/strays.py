"""Processes that a reward started and that left its worker's session. Linux; elsewhere they stay.

Every process inherits the environment of the one that started it. So a mark in a worker's environment
finds what it started, daemons included, unless they were given another environment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path

__all__ = ["end_marked", "new_mark"]

ROUNDS = 20
"""Looks at all processes: those found may start others before they end."""


def new_mark() -> str:
    """The name of a variable that no other process has."""
    return f"GRPOKIT_WORKER_{secrets.token_hex(8)}"


def end_marked(mark: str) -> None:
    """Kills every process that was started with the variable ``mark`` in its environment."""
    if sys.platform != "linux":
        return
    sought = f"{mark}=".encode("ascii")
    for _ in range(ROUNDS):
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        if not [pid for pid in pids if _kill_marked(pid, sought)]:
            return
        time.sleep(0.005)


def _kill_marked(pid: int, sought: bytes) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        handle = os.pidfd_open(pid)  # so that nobody else can have got the number meanwhile
        try:
            if sought in Path(f"/proc/{pid}/environ").read_bytes():
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False

"""Code of plugins may print. While it loads, what it prints goes to stderr, never into ``--json``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

__all__ = ["stdout_to_stderr"]


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Sends Python's stdout to stderr, and the process's too (child processes, C libraries)."""
    saved = None
    with suppress(OSError, ValueError):  # no usable file descriptors: Python's level must do
        sys.stdout.flush()
        if sys.stdout.fileno() == 1:
            saved = os.dup(1)
            os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)

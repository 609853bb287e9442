"""How far a command is with questions, or with rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from grpokit.cli import render

__all__ = ["Display"]


class Display:
    """A bar on a terminal; elsewhere a line at each quarter, on stderr."""

    def __init__(self, view: render.LiveView | None, noun: str = "questions") -> None:
        self._view = view
        self._noun = noun

    def of(self, label: str) -> Callable[[int, int], None]:
        start = time.monotonic()
        said = -1

        def show(done: int, total: int) -> None:
            nonlocal said, start
            if done == 0:
                start = time.monotonic()
            words = f"{label}: {done} of {total} {self._noun}{_left(start, done, total)}"
            if self._view is not None:
                self._view.update(render.stack(words, render.progress_bar(done, total)))
            elif 4 * done // max(total, 1) > said:
                said = 4 * done // max(total, 1)
                sys.stderr.write(render.safe(words, one_line=True) + "\n")

        return show


def _left(start: float, done: int, total: int) -> str:
    if done in (0, total):
        return ""
    return f", about {(time.monotonic() - start) / done * (total - done):.0f} s left"

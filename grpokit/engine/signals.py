"""SIGINT and SIGTERM as a flag. It is polled during generation, scoring and update."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Self

from grpokit.errors import Interrupted

__all__ = ["StopFlag"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Context manager that turns the first signal into a flag and obeys the second at once.

    ``poll`` is handed to the backend as ``should_stop``. The step that was interrupted is dropped
    and the state of the last finished step is saved, so nothing is ever saved half way. A second one
    within ``settle`` seconds is the first one told twice.
    """

    def __init__(self, settle: float = 0.0) -> None:
        self.settle = settle
        self.received: int | None = None
        self.at = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]
        self._previous.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self.at = number, now
        elif now - self.at >= self.settle:
            show_cursor()
            os._exit(128 + number)  # the user insists; the last checkpoint stands

    def poll(self) -> None:
        """Raises :class:`Interrupted` once a signal has arrived."""
        if self.received is not None:
            raise Interrupted(self.received)


def show_cursor() -> None:
    """Gives a terminal back the cursor that the live view has hidden."""
    for stream in (1, 2):
        if os.isatty(stream):
            os.write(stream, b"\x1b[?25h\n")
            return

"""The parent's end of the workers: start, ask, kill. Safe to use from several threads."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from typing import IO, Any

from grpokit_math.verify.node import Node

__all__ = ["Failed", "Pool", "TooSlow"]

START = 60.0
"""Seconds that a worker may take to import sympy on a busy machine. They are not the question's."""
WORKERS = 2
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONHOME",
    "SYSTEMROOT",
    "TMPDIR",
)
"""What a worker gets of the environment; no tokens."""
SELECTOR = getattr(selectors, "PollSelector", selectors.SelectSelector)


class TooSlow(Exception):
    """The deadline came first."""


class Failed(Exception):
    """The worker raised, ran out of memory or died."""


class Pool:
    """At most two workers, started when the first question needs them, kept for the next ones.

    The first one that has to be killed brings the second: from then on one stands ready while another
    starts, so that a series of questions that take too long does not wait for starts as well.
    """

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _reset(self) -> None:
        self._free = threading.Semaphore(WORKERS)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    def _forked(self) -> None:
        """A forked child has workers of its own; the parent's must see its own pipe end."""
        for worker in self._all:
            worker.forget()
        self._reset()

    def ask(self, first: Node, second: Node, *, tolerance: float, seconds: float) -> bool:
        """Whether two expressions are equal. Raises what ``ask_timed`` raises."""
        return self.ask_timed(first, second, tolerance=tolerance, seconds=seconds)[0]

    def ask_timed(
        self, first: Node, second: Node, *, tolerance: float, seconds: float
    ) -> tuple[bool, float]:
        """Whether two expressions are equal, and the seconds it took without the start of a worker.

        Raises:
            TooSlow: not answered in time. The worker is killed.
            Failed: the worker raised or died.
        """
        question = {
            "first": first,
            "second": second,
            "tolerance": tolerance,
            "seconds": seconds,
        }
        line = json.dumps(question, default=_as_json).encode() + b"\n"
        with self._free:
            worker = self._take()
            try:
                worker.start()
                began = time.monotonic()
                answer = worker.ask(line, seconds)
            # Also an interrupt: a worker in the midst of a question is of no use.
            except BaseException:
                self._replace(worker)
                raise
            with self._lock:
                self._idle.append(worker)
        if "error" in answer:
            raise Failed(str(answer["error"]))
        return bool(answer["same"]), time.monotonic() - began

    def _take(self) -> _Worker:
        with self._lock:
            self._idle.sort(key=_Worker.ready)
            while self._idle:
                worker = self._idle.pop()
                if worker.alive():
                    return worker
                self._all.discard(worker)
                worker.kill()
        worker = _Worker()
        with self._lock:
            self._all.add(worker)
        return worker

    def _replace(self, worker: _Worker) -> None:
        """Kills a worker; others start meanwhile, for the next questions."""
        worker.kill()
        with self._lock:
            self._all.discard(worker)
            while len(self._all) < WORKERS:
                fresh = _Worker()
                self._all.add(fresh)
                self._idle.append(fresh)

    def close(self) -> None:
        """Ends all workers. The next question starts new ones."""
        with self._lock:
            workers = list(self._all)
            self._all.clear()
            self._idle.clear()
        for worker in workers:
            worker.kill()


class _Worker:
    def __init__(self) -> None:
        environ = {name: value for name, value in os.environ.items() if name in KEPT}
        environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "grpokit_math.verify.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # nothing is left to write twice in a forked child
            env=environ,
        )
        self._started = False
        self._read = b""

    def alive(self) -> bool:
        return self._process.poll() is None

    def ready(self) -> bool:
        """Whether it can answer at once."""
        stdout = self._process.stdout
        assert stdout is not None
        return self._started or _readable(stdout, 0)

    def start(self) -> None:
        """Waits until it can answer."""
        if not self._started:
            greeting = json.loads(self._line(START))
            if "error" in greeting:
                raise Failed(str(greeting["error"]))
            self._started = True

    def ask(self, line: bytes, seconds: float) -> dict[str, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[stdin.write(rest) :]
        except OSError as error:
            raise Failed(f"the worker is gone: {error}") from error
        answer: dict[str, Any] = json.loads(self._line(seconds))
        return answer

    def _line(self, seconds: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(stdout, left):
                raise TooSlow("no answer in time")
            chunk = os.read(stdout.fileno(), 65536)
            if not chunk:
                raise Failed("the worker died")
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Closes this process's ends of the pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was left to write has no reader any more
                    pipe.close()


def _readable(pipe: IO[bytes], seconds: float) -> bool:
    """Whether there is something to read. Not select(), which refuses files above number 1023."""
    with SELECTOR() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _as_json(value: object) -> Any:
    if isinstance(value, Fraction):
        return [hex(value.numerator), hex(value.denominator)]
    raise TypeError(type(value).__name__)

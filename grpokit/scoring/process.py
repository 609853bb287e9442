"""The trainer's end of a worker: spawn it, talk without blocking, kill it with all it started."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpokit.registry.catalog import Entry
from grpokit.scoring.strays import end_marked, new_mark
from grpokit.scoring.wire import dump, entry_to_json

__all__ = ["WorkerProcess"]

WORKER = Path(__file__).with_name("worker.py")
CHUNK = 1 << 16
FLOOD = 1 << 20
"""Bytes of what a reward prints that are taken at once, to be dropped."""
TAIL = 8000
"""Bytes of the worker's standard error that are kept for the report of a crash."""
LONGEST = 1 << 28
"""Bytes of one answer: a hundred thousand completions with a note each."""
GRACE = 0.5
"""Seconds a worker gets to end by itself when it is no longer needed."""


class WorkerProcess:
    """One worker. It has a session of its own, so Ctrl-C in a terminal reaches the trainer alone.

    ``selector`` watches its pipes with this object as data; :meth:`handle` is called with each
    event and returns complete messages. None among them means that the worker is gone.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        entry: Entry,
        settings: Mapping[str, Any],
        memory: float | None,
    ) -> None:
        # Equal hash seeds: a reward that walks over a set gives equal scores after a resume.
        self._mark = new_mark()
        environ = {"PYTHONHASHSEED": "0", **os.environ, self._mark: "1"}
        # Nothing is ever written here: that its end closes says that the trainer is gone.
        lifeline, self._lifeline = os.pipe()
        try:
            self._popen = _spawn(environ, lifeline)
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        self._stdin, self._stdout, self._stderr = (
            self._popen.stdin,
            self._popen.stdout,
            self._popen.stderr,
        )
        self._selector = selector
        _widen(self._stderr.fileno())
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)
        for pipe in (self._stdout, self._stderr):
            selector.register(pipe, selectors.EVENT_READ, self)
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._errors = bytearray()
        self._key = secrets.token_hex(16).encode("ascii")
        opening = {
            "key": self._key.decode("ascii"),
            "path": sys.path,
            "parent": os.getpid(),
            "lifeline": lifeline,
            "by_kernel": threading.current_thread() is threading.main_thread(),
            "entry": entry_to_json(entry),
            "settings": dict(settings),
            "memory": memory,
        }
        self.send(dump(opening))

    @property
    def pid(self) -> int:
        return self._popen.pid

    def alive(self) -> bool:
        """Whether the worker still runs; does not reap it."""
        return not self._ended()

    def send(self, line: bytes) -> None:
        """Queues a line; it is written as the worker reads."""
        if not self._outgoing:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, self)
        self._outgoing += line

    def handle(self, pipe: object) -> list[dict[str, Any] | None]:
        """Serves one pipe that the selector reported."""
        if pipe is self._stdin:
            self._write()
        elif pipe is self._stderr:
            self._drain()
        else:
            return self._read()
        return []

    def only_prints(self, pipe: object) -> bool:
        """Whether this pipe is not the channel: there, a worker that hangs may go on for ever."""
        return pipe is self._stderr

    def last_words(self) -> list[dict[str, Any] | None]:
        """What a process that is gone wrote in its last moment."""
        return self._read()

    def _write(self) -> None:
        try:
            written = os.write(self._stdin.fileno(), self._outgoing[:CHUNK])
        except BlockingIOError:
            return
        except OSError:  # the worker is gone; its standard output will say so
            written = len(self._outgoing)
        del self._outgoing[:written]
        if not self._outgoing:
            self._selector.unregister(self._stdin)

    def _read(self) -> list[dict[str, Any] | None]:
        try:
            data = os.read(self._stdout.fileno(), CHUNK)
        except BlockingIOError:
            return []
        if not data:
            return [None]
        self._incoming += data
        if (
            len(self._incoming) > LONGEST
        ):  # no answer is so long: foreign code wrote into the channel
            return [None]
        if b"\n" not in data:
            return []
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        messages: list[dict[str, Any] | None] = []
        for line in lines:
            if not line.startswith(self._key):  # foreign code wrote into the channel
                return [*messages, None]
            messages.append(json.loads(line[len(self._key) :]))
        return messages

    def _drain(self) -> None:
        try:
            data = os.read(self._stderr.fileno(), FLOOD)
        except BlockingIOError:
            return
        if not data:
            with contextlib.suppress(KeyError):  # seen before
                self._selector.unregister(self._stderr)
        self._errors += data[-TAIL:]
        del self._errors[:-TAIL]

    def obituary(self) -> tuple[str, str]:
        """How the worker ended, and the last it wrote to standard error. Kills it if it lives."""
        ended = self._wait(GRACE)
        with contextlib.suppress(ValueError, OSError):
            self._drain()
        self.kill()
        code = self._popen.returncode
        if not ended:
            how = "its process closed the channel to the trainer, or wrote into it"
        elif code < 0:
            how = f"its process was killed by {_signal_name(-code)}"
        else:
            how = f"its process ended with exit code {code}"
        return how, self._errors.decode("utf-8", "replace")

    def kill(self) -> None:
        """Ends the worker and everything it started, at once. Safe to call twice."""
        if self._popen.returncode is None:
            # Before wait(): while the leader is not reaped, nobody else can get its number.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            end_marked(self._mark)
        for pipe in (self._stdin, self._stdout, self._stderr):
            if not pipe.closed:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(pipe)
                pipe.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def finish(self) -> None:
        """Tells the worker that nothing more will come; it begins to end by itself."""
        if not self._stdin.closed:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(self._stdin)
            self._stdin.close()

    def close(self) -> None:
        """Lets the worker end by itself, then makes sure."""
        if self._popen.returncode is None:
            self.finish()
            self._wait(GRACE)
        self.kill()

    def _wait(self, seconds: float) -> bool:
        """Waits for the end without reaping."""
        end = time.monotonic() + seconds
        while not self._ended():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def _ended(self) -> bool:
        if self._popen.returncode is not None:
            return True
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, look) is not None


def _spawn(environ: Mapping[str, str], lifeline: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own interpreter and file
        [sys.executable, "-P", str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
        env=environ,
        pass_fds=(lifeline,),
    )


def _widen(pipe: int) -> None:
    """Lets the kernel hold more of what a reward prints, so that it waits less. Linux only."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the user's pipes have a limit together
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, FLOOD)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

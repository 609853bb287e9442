"""A client of ``zygote.py``: runs real ``grpokit`` commands quickly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from warm import warm


class Commands:
    """Runs commands one after the other; each is a process of its own.

    ``modules`` are those that the commands import besides the usual ones.
    """

    def __init__(self, folder: Path, *modules: str) -> None:
        self.folder = folder
        self.log = folder / "command.log"
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GRPOKIT_CACHE": str(warm(folder / "cache")),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py")), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        assert self._answer() == {"ready": True}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.kill()
        self._process.wait()

    def run(
        self,
        *argv: str,
        kill: int | None = None,
        where: str = "fsync",
        signals: tuple[tuple[float, signal.Signals], ...] = (),
        when: str = "",
    ) -> int:
        """Runs to the end and returns the exit code (negative: killed by that signal).

        ``signals`` are (seconds, signal) sent while it runs; the clock starts when ``when`` appears
        in the output.
        """
        request: dict[str, Any] = {
            "argv": list(argv),
            "cwd": str(self.folder),
            "log": str(self.log),
        }
        assert self._process.stdin is not None
        self.log.write_text("")
        self._process.stdin.write(json.dumps({**request, "kill": kill, "where": where}) + "\n")
        self._process.stdin.flush()
        pid = self._answer()["pid"]
        if signals:
            threading.Thread(target=self._send, args=(pid, signals, when), daemon=True).start()
        return int(self._answer()["status"])

    def children(self) -> list[str]:
        """Command lines of processes whose working directory is the test's folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").resolve() == self.folder.resolve():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def _send(self, pid: int, signals: tuple[tuple[float, signal.Signals], ...], when: str) -> None:
        while when not in self.output:
            time.sleep(0.005)
        for delay, number in signals:
            time.sleep(delay)
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

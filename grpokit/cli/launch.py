"""Several processes for one run: start them, pass signals on, and let none outlive the others.

Each process is ``python -m grpokit.cli.worker RUN`` with the environment that torch.distributed and
accelerate read (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT). The first one has the
terminal; the others write to RUN/logs/process-N.log.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

from grpokit.cli import render
from grpokit.errors import ExitCode

__all__ = ["launch"]

GRACE = 60.0
"""Seconds that the others get to save and end once one process has failed, or the first has ended."""
SHORT = 20.0
"""The same once one has died: without it nothing can be saved, and some may still wait to meet it."""
TAIL = 12
"""Lines of a failed process's log that are shown."""


def launch(run: Path, count: int, arguments: Sequence[str]) -> int:
    """Runs ``count`` workers of a run to their end, and returns the exit code of the run."""
    logs = run / "logs"
    logs.mkdir(exist_ok=True)
    with ExitStack() as stack:
        common = _environment(count, stack.enter_context(_reserved_port()))
        workers: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, workers)
        signals = stack.enter_context(_Signals(workers))
        for rank in range(count):
            out = None
            if rank:
                out = stack.enter_context((logs / f"process-{rank}.log").open("wb"))
            workers.append(
                subprocess.Popen(  # noqa: S603  # our own interpreter and module
                    [sys.executable, "-m", "grpokit.cli.worker", str(run), *arguments],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    process_group=0,  # Ctrl-C in a terminal comes to us, and once to each of them
                )
            )
        signals.repeat()
        return _wait(workers, logs)


def _environment(count: int, port: int) -> dict[str, str]:
    environment = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GRPOKIT_LAUNCHER": str(os.getpid()),
    }
    environment.setdefault("PYTHONHASHSEED", "0")  # who walks over a set does so alike everywhere
    environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // count)))
    if sys.platform == "linux":  # a host name that leads nowhere must not matter on one machine
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return environment


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that nobody else is given meanwhile; the first process may listen on it all the same."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


class _Signals:
    """Passes SIGINT and SIGTERM on to the workers, and gives both back to whom they were."""

    def __init__(self, workers: Sequence[subprocess.Popen[bytes]]) -> None:
        self._workers = workers
        self._received: list[int] = []
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(number)

    def repeat(self) -> None:
        """What came before all workers were there; a worker takes it for one signal."""
        for number in dict.fromkeys(self._received):
            self._pass_on(number, None)


def _wait(workers: Sequence[subprocess.Popen[bytes]], logs: Path) -> int:
    """Until all have ended. Once one has failed, the others have a minute to end by themselves."""
    deadline: float | None = None
    failed: list[int] = []
    while any(worker.poll() is None for worker in workers):
        failed = failed or _failed(workers)
        if deadline is None and (failed or workers[0].returncode is not None):
            died = any(workers[rank].returncode < 0 for rank in failed)
            deadline = time.monotonic() + (SHORT if died else GRACE)
        if deadline is not None and time.monotonic() > deadline:
            _end(workers)
            if not failed:  # the first one has ended well: the run is complete
                render.warn("a process did not end after the run, and was killed")
                return ExitCode.OK
        time.sleep(0.05)
    failed = failed or _failed(workers)
    if not failed:
        return ExitCode.OK
    # Who ends because another one has ended says that, with the code of a fault.
    rank = next((r for r in failed if workers[r].returncode != ExitCode.BUG), failed[0])
    code = workers[rank].returncode
    told = workers[0].returncode == code and code not in (ExitCode.BUG, -signal.SIGKILL)
    if not told:  # by the first one, which has the terminal
        for other in failed:
            _show(logs / f"process-{other}.log", other, workers[other].returncode)
    return code if code > 0 else 128 - code


def _failed(workers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    return [rank for rank, worker in enumerate(workers) if worker.poll()]


def _show(log: Path, rank: int, code: int) -> None:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    if code == -signal.SIGKILL:
        how += " (often the system's, short of memory)"
    if rank == 0:  # it has the terminal, and has said what it could
        if code < 0:
            render.warn(f"process 0 {how}", "red")
        return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    render.warn(f"process {rank} {how}; {log}:", "red")
    for line in lines:
        render.warn(f"  {line}")


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()

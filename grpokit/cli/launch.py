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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from grpokit.cli import render
from grpokit.errors import ExitCode

__all__ = ["launch"]

GRACE = 60.0
"""Seconds that the others get to save and end once one process has failed."""
TAIL = 12
"""Lines of a failed process's log that are shown."""


def launch(run: Path, count: int, arguments: Sequence[str]) -> int:
    """Runs ``count`` workers of a run to their end, and returns the exit code of the run."""
    logs = run / "logs"
    logs.mkdir(exist_ok=True)
    common = _environment(count)
    with ExitStack() as stack:
        workers: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, workers)
        restore = _pass_signals_on(workers)
        stack.callback(restore)
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
        return _wait(workers, logs)


def _environment(count: int) -> dict[str, str]:
    environment = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "GRPOKIT_LAUNCHER": str(os.getpid()),
    }
    environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // count)))
    if sys.platform == "linux":  # a host name that leads nowhere must not matter on one machine
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return environment


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pass_signals_on(workers: Sequence[subprocess.Popen[bytes]]) -> _Restore:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    return _Restore({number: signal.signal(number, pass_on) for number in numbers})


class _Restore:
    """Gives signals back to whom they were."""

    def __init__(self, previous: Mapping[int, object]) -> None:
        self._previous = previous

    def __call__(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _wait(workers: Sequence[subprocess.Popen[bytes]], logs: Path) -> int:
    """Until all have ended. Once one has failed, the others have a minute to end by themselves."""
    deadline: float | None = None
    failed: int | None = None
    while any(worker.poll() is None for worker in workers):
        if failed is None:
            failed = _first_failed(workers)
            deadline = None if failed is None else time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            _end(workers)
        time.sleep(0.05)
    failed = _first_failed(workers) if failed is None else failed
    if failed is None:
        return ExitCode.OK
    code = workers[failed].returncode
    if failed and workers[0].returncode != code:
        _show(logs / f"process-{failed}.log", failed, code)
    return code if code > 0 else 128 - code


def _first_failed(workers: Sequence[subprocess.Popen[bytes]]) -> int | None:
    return next((rank for rank, worker in enumerate(workers) if worker.poll()), None)


def _show(log: Path, rank: int, code: int) -> None:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
    render.warn(f"process {rank} {how}; {log}:", "red")
    for line in lines:
        render.warn(f"  {line}")


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()

"""How several processes end: which of them is to blame, what is shown, and the exit code."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from grpokit.cli import launch
from grpokit.errors import ExitCode


def shells(*scripts: str) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen(["sh", "-c", script]) for script in scripts]


def logs_of(folder: Path, count: int) -> Path:
    for rank in range(1, count):
        (folder / f"process-{rank}.log").write_text(f"the message of {rank}\n")
    return folder


def test_the_port_is_ours_until_the_first_process_listens() -> None:
    with launch._reserved_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as first:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.bind(("127.0.0.1", port))
            first.listen()


@pytest.mark.parametrize(
    ("scripts", "code", "shown"),
    [
        (("exit 0", "exit 0"), 0, ()),
        (("exit 1", "exit 4"), 4, (1,)),  # both end at once: a fault is what the others say
        (("exit 1", "exit 1"), 1, (1,)),
        (("exit 4", "exit 4"), 4, ()),  # the first one has said it
        (("sleep 0.4; exit 1", "exit 1"), 1, (1,)),
        (("sleep 0.4; exit 1", "kill -9 $$"), 137, (1,)),
        (("sleep 0.4; kill -9 $$", "kill -9 $$"), 137, (1,)),  # it waited for the other one
        (("exit 143", "sleep 0.4; exit 143"), 143, ()),
        (("sleep 0.4; exit 1", "sleep 0.2; exit 1", "exit 6"), 6, (2,)),
    ],
)
def test_the_one_to_blame(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    scripts: tuple[str, ...],
    code: int,
    shown: tuple[int, ...],
) -> None:
    workers = shells(*scripts)
    if "sleep" not in "".join(scripts):
        for worker in workers:
            worker.wait()
    assert launch._wait(workers, logs_of(tmp_path, len(scripts))) == code
    said = capfd.readouterr().err
    for rank in range(1, len(scripts)):
        assert (f"the message of {rank}" in said) == (rank in shown), said


def test_the_death_of_the_first_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "SHORT", 0.3)
    workers = shells("kill -9 $$", "exec sleep 60")  # the other one waits to meet it
    assert launch._wait(workers, tmp_path) == 137
    assert "process 0 was killed by signal 9" in capfd.readouterr().err


def test_who_stays_behind_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "GRACE", 0.3)
    workers = shells("exit 0", "exec sleep 60")
    assert launch._wait(workers, tmp_path) == ExitCode.OK
    assert "did not end after the run" in capfd.readouterr().err
    assert workers[1].wait(timeout=5) == -signal.SIGKILL
    workers = shells("exit 5", "exec sleep 60")
    assert launch._wait(workers, tmp_path) == ExitCode.NON_FINITE


def test_a_signal_before_all_are_there_reaches_them_all(tmp_path: Path) -> None:
    workers: list[subprocess.Popen[bytes]] = []
    before = signal.getsignal(signal.SIGTERM)
    with launch._Signals(workers) as signals:
        signal.raise_signal(signal.SIGTERM)
        workers += shells("exec sleep 60", "exec sleep 60")
        time.sleep(0.1)
        signals.repeat()
        assert launch._wait(workers, tmp_path) == ExitCode.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before

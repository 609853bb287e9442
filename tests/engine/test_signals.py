"""The first signal is a flag, the second ends the process at once and leaves the terminal usable."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from grpokit.engine.signals import StopFlag
from grpokit.errors import ExitCode, Interrupted

INSISTING = """
import os, signal
from grpokit.engine.signals import StopFlag
with StopFlag():
    os.kill(os.getpid(), signal.SIGINT)
    os.write(1, b"one is a flag\\n")
    os.kill(os.getpid(), signal.SIGTERM)
    os.write(1, b"never said\\n")
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.SIGINT), (signal.SIGTERM, ExitCode.SIGTERM)]
)
def test_a_signal_is_seen_at_the_next_poll(number: signal.Signals, code: ExitCode) -> None:
    before = signal.getsignal(number)
    with StopFlag() as flag:
        flag.poll()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            flag.poll()
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, time; from grpokit.engine.signals import StopFlag\n"
        "with StopFlag():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(60); print('never')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout == "still here\n"
    assert done.returncode == ExitCode.SIGTERM


def test_a_signal_told_twice_at_once_is_one_signal() -> None:
    code = (
        "import os, signal, time; from grpokit.engine.signals import StopFlag\n"
        "with StopFlag(settle=0.3):\n"
        "    os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.4); print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(60); print('never')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout == "still here\n"
    assert done.returncode == ExitCode.SIGTERM


def test_a_terminal_gets_its_cursor_back():
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", INSISTING], stdout=theirs, check=False, timeout=60)
    os.close(theirs)
    said = os.read(ours, 4096)
    os.close(ours)
    assert done.returncode == 128 + signal.SIGTERM
    assert b"one is a flag" in said
    assert b"never said" not in said
    assert b"\x1b[?25h" in said

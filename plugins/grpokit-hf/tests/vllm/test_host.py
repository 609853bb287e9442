"""The process of vLLM by itself, without vLLM: it goes with the run, and takes along what it started."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

from vllm_runs import runs

HOST = """
import os, subprocess, sys, time
from grpokit_hf.vllm.host import Lines, die_with_parent
worker = subprocess.Popen(["sleep", "60"])
print(worker.pid, flush=True)
if sys.argv[1] == "parent":
    die_with_parent(int(sys.argv[2]))
    time.sleep(60)
Lines(0, 1).get()
"""

RUN = """
import os, subprocess, sys, time
command = [sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid())]
subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE)
time.sleep(60)
"""


@pytest.mark.parametrize("way", ["parent", "pipe"])
def test_workers_of_vllm_do_not_outlive_a_run_that_was_killed(way) -> None:
    """Several GPUs, several processes; whether the end is seen by the parent or by the pipe."""
    command = [sys.executable, "-c", textwrap.dedent(RUN), HOST, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        assert runs(worker)
        run.kill()
    until = time.monotonic() + 10
    while runs(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs(worker)

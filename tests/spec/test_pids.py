"""Process numbers in file names."""

from __future__ import annotations

import os
import subprocess
import sys

from grpokit.spec.pids import alive


def test_this_process_and_the_first_are_there_and_an_ended_one_is_not():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert alive(os.getpid())
    assert alive(1)
    assert not alive(ended.pid)


def test_a_number_that_no_process_can_have_is_nobody():
    assert not alive(10**30)

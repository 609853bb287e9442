"""Folders of weights: in memory where there is room, and gone after a run that was killed; no vLLM."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from grpokit_hf.vllm import scratch
from grpokit_hf.vllm.scratch import Scratch

OLD = time.time() - 1000


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """Where temporary folders are made in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "MEMORY", tmp_path / "none")
    return tmp_path


def test_weights_lie_in_memory_only_where_there_is_room() -> None:
    large = Scratch.make(None, 1 << 60)
    assert not large.path.is_relative_to("/dev/shm")
    large.close()
    assert not large.path.exists()


def test_what_a_killed_run_left_goes_with_the_next_run(place: Path) -> None:
    script = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from grpokit_hf.vllm import scratch
scratch.MEMORY = Path("/nowhere")
made = scratch.Scratch.make(None, 1)
(made.path / "model.safetensors").write_bytes(b"weights")
print(made.path, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as run:
        assert run.stdout is not None
        left = Path(run.stdout.readline().strip())
        os.utime(left, (OLD, OLD))
        other = Scratch.make(None, 1)  # while the other run lives
        assert left.is_dir()
        other.close()
        run.kill()
    os.utime(left, (OLD, OLD))
    ours = Scratch.make(None, 1)
    assert not left.exists()
    assert ours.path.is_dir()
    ours.close()


def test_what_is_not_ours_stays(place: Path) -> None:
    """A log, a link, a folder that was just made, and everything in a folder that others may share."""
    log = place / "grpokit-vllm-1.log"
    log.touch()
    target = place / "valuable"
    target.mkdir()
    (place / "grpokit-vllm-link").symlink_to(target)
    new = place / "grpokit-vllm-new"
    new.mkdir()
    shared = place / "shared" / "grpokit-vllm-x"
    shared.mkdir(parents=True)
    for path in (log, target, shared):
        os.utime(path, (OLD, OLD))
    Scratch.make(None, 1).close()
    Scratch.make(place / "shared", 1).close()
    assert log.is_file()
    assert target.is_dir()
    assert new.is_dir()
    assert shared.is_dir()

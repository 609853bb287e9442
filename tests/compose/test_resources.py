"""The machine in words: what a run's plan says it was trained on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grpokit.compose.resources import GpuMemory, gpu_memory, hardware

TOOL = """#!/bin/sh
echo "$@" > "{log}"
case "$*" in
  *memory.free*) echo "1000, 2048" ;;
  *name*) printf 'NVIDIA H200, 143771\\nNVIDIA H200, 143771\\nTesla T4, 15360\\n' ;;
esac
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named nvidia-smi; the file that it writes its arguments to."""
    log = tmp_path / "log"
    path = tmp_path / "nvidia-smi"
    path.write_text(TOOL.format(log=log))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return log


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = hardware()
    assert found.keys() == {"cpu", "cores", "memory"}
    assert int(found["cores"]) == len(os.sched_getaffinity(0))
    assert found["memory"].endswith("GiB")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware()["OMP_NUM_THREADS"] == "3"


def test_gpus_are_counted_by_name(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware()["gpu"] == "2 x NVIDIA H200, 140.40 GiB; Tesla T4, 15.00 GiB"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    hardware()
    assert tool.read_text().split()[-2:] == ["-i", "1,2"]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_there(
    tool: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert "gpu" not in hardware()
    assert gpu_memory() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu_memory() == GpuMemory(1000 * 2**20, 2048 * 2**20)
    assert tool.exists()

"""Which GPUs are there, read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit_hf import machine


@pytest.mark.skipif(
    any(Path("/proc/driver/nvidia/gpus").glob("*/information")), reason="a GPU is here"
)
def test_a_gpu_that_windows_lends_is_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """WSL 2 has neither /proc/driver/nvidia nor /dev/nvidia0, but Windows' driver."""
    lent = tmp_path / "libcuda.so.1"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "SIGNS", (lent,))
    assert machine.gpu_names() == ()
    lent.touch()
    assert machine.gpu_names() == ("NVIDIA GPU",)

"""What the machine has (memory, disk) and what a run will write. Read from files; no torch."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from grpokit.compose.dimensions import Dimensions
from grpokit.compose.memory import format_bytes, trainable
from grpokit.spec.recipe import Recipe

__all__ = [
    "GpuMemory",
    "available_memory",
    "checkpoint_count",
    "disk_forecast",
    "environment",
    "free_disk",
    "gpu_memory",
    "hardware",
]

PACKAGES = (
    "grpokit",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "safetensors",
    "numpy",
    "pydantic",
)
BYTES_PER_TOKEN = 4
"""Of text in rollouts.jsonl; English has about four characters a token."""
BYTES_PER_COMPLETION = 400
"""Scores, advantage, ids and JSON around a completion."""
BYTES_PER_STEP = 3000
"""A line of metrics.jsonl."""


def environment() -> dict[str, str]:
    """Python, platform, hardware and the versions of the packages that matter; none is imported."""
    found = {"python": platform.python_version(), "platform": platform.platform(), **hardware()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hardware() -> dict[str, str]:
    """``cpu``, ``cores``, ``memory`` and, where the driver shows any, ``gpu``: in words."""
    found = {"cpu": _processor(), "cores": str(_cores())}
    with contextlib.suppress(OSError, ValueError, AttributeError):
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found["memory"] = format_bytes(size)
    if threads := os.environ.get("OMP_NUM_THREADS"):
        found["OMP_NUM_THREADS"] = threads
    names = _gpu_names()
    return {**found, "gpu": names} if names else found


def _processor() -> str:
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if model := re.search(r"^model name[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE):
            return model[1].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _gpu_names() -> str:
    """``2 x NVIDIA H200, 139.8 GiB``, different ones one after another."""
    lines = _ask_driver("name,memory.total", os.environ.get("CUDA_VISIBLE_DEVICES", "").strip())
    counted: dict[str, int] = {}
    for line in lines:
        name, _, size = line.rpartition(",")
        with contextlib.suppress(ValueError):
            shown = f"{name.strip()}, {format_bytes(int(size) * 2**20)}"
            counted[shown] = counted.get(shown, 0) + 1
    return "; ".join(f"{n} x {shown}" if n > 1 else shown for shown, n in counted.items())


def _ask_driver(fields: str, visible: str) -> list[str]:
    """A line a GPU, as the driver's tool prints it; empty without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None or visible == "-1" or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    query = [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    picked = ["-i", visible] if visible else []
    try:
        found = subprocess.run(  # noqa: S603  a fixed command
            [*query, *picked], capture_output=True, text=True, timeout=3, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return found.stdout.splitlines()


def available_memory() -> int | None:
    """Bytes that a process can still take: the smaller of the kernel's word and the container's."""
    limits = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        limits.append(int(text.partition("MemAvailable:")[2].split()[0]) * 1024)
    if not limits:  # not Linux
        with contextlib.suppress(OSError, ValueError, AttributeError):
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        top = int((group / "memory.max").read_text(encoding="ascii"))
        limits.append(top - int((group / "memory.current").read_text(encoding="ascii")))
    return min(limits, default=None)


class GpuMemory(NamedTuple):
    """Bytes of a GPU."""

    free: int
    total: int


def gpu_memory() -> GpuMemory | None:
    """Of the first visible NVIDIA GPU, as the driver's tool says; None without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    try:
        free, total = _ask_driver("memory.free,memory.total", visible or "0")[0].split(",")
        return GpuMemory(int(free) * 2**20, int(total) * 2**20)
    except (ValueError, IndexError):
        return None


def free_disk(folder: Path) -> int | None:
    """Free bytes where ``folder`` is, or will be."""
    place = folder.absolute()
    for candidate in (place, *place.parents):
        if candidate.is_dir():
            return shutil.disk_usage(candidate).free
    return None


def checkpoint_count(recipe: Recipe) -> int:
    """Checkpoints that stand at once: the newest N, the best, and the one being written."""
    train = recipe.train
    saved = -(-train.steps // train.save_every)
    return min(saved, train.keep + 2)


def disk_forecast(recipe: Recipe, dims: Dimensions | None) -> Mapping[str, int]:
    """Bytes by part of a whole run; the rollouts at their upper bound.

    A checkpoint holds the trained weights (adapters where there are any) and two moments for each.
    Without the model's sizes only the records are forecast.
    """
    rollout, steps = recipe.rollout, recipe.train.steps
    rows = steps * rollout.prompts * rollout.group
    text = rows * (rollout.max_tokens * BYTES_PER_TOKEN + BYTES_PER_COMPLETION)
    parts = {
        "rollouts": text if recipe.train.save_rollouts else 0,
        "records": steps * BYTES_PER_STEP,
    }
    if dims is None:
        return parts
    policy = trainable(recipe, dims) * 4
    return {
        "checkpoints": checkpoint_count(recipe) * 3 * policy,
        "final": policy,
        **parts,
    }

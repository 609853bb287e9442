"""What the machine has (memory, disk) and what a run will write. Read from files; no torch."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from grpokit.compose.dimensions import Dimensions
from grpokit.compose.memory import trainable
from grpokit.spec.recipe import Recipe

__all__ = [
    "GpuMemory",
    "available_memory",
    "checkpoint_count",
    "disk_forecast",
    "environment",
    "free_disk",
    "gpu_memory",
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
    """Python, platform and the versions of the packages that matter, none of them imported."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


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
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    try:
        found = subprocess.run(  # noqa: S603  a fixed command
            [*query, "-i", visible or "0"], capture_output=True, text=True, timeout=3, check=True
        )
        free, total = found.stdout.splitlines()[0].split(",")
        return GpuMemory(int(free) * 2**20, int(total) * 2**20)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
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

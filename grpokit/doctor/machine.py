"""The machine, through files and the driver's own tool: no torch, and no waiting for a network."""

from __future__ import annotations

import http.client
import os
import platform
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from grpokit.compose.resources import available_memory, free_disk
from grpokit.registry.models import models_folder
from grpokit.versions.installed import torch_build

__all__ = ["Disk", "Gpu", "Hub", "Machine", "ask_hub", "find_gpus", "look_at_machine"]

HUB = "https://huggingface.co"
HUB_SECONDS = 1.0
TOOL_SECONDS = 5.0
FIELDS = ("name", "driver_version", "memory.total", "memory.free", "compute_cap")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU, as the driver's tool sees it. Sizes in bytes."""

    name: str
    driver: str
    memory: int
    free: int
    capability: str = ""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A folder that runs or caches are written to, and the bytes that are free there."""

    use: str
    path: str
    free: int | None


@dataclass(frozen=True, kw_only=True)
class Hub:
    """Where models and data sets come from. ``reachable`` None: it was not asked."""

    endpoint: str
    reachable: bool | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """All that is known about the machine.

    Attributes:
        gpu_tool: what the driver's tool said where it listed no GPU.
        cuda: newest CUDA version that the driver runs, empty without one.
        torch: what the installed torch is built for (``cpu``, ``cuda 13.0``); empty without torch.
    """

    python: str
    platform: str
    cores: int
    memory: int | None
    memory_free: int | None
    gpus: tuple[Gpu, ...]
    gpu_tool: str
    cuda: str
    torch: str
    disks: tuple[Disk, ...]
    hub: Hub


def look_at_machine(environ: Mapping[str, str] | None = None, out: str = "runs") -> Machine:
    """Everything at once: the hub and the driver's tool answer while the files are read."""
    environ = os.environ if environ is None else environ
    with ThreadPoolExecutor(2) as pool:
        hub = pool.submit(ask_hub, environ)
        gpus = pool.submit(find_gpus, environ)
        disks = tuple(
            Disk(use=use, path=str(path), free=free_disk(path))
            for use, path in _folders(environ, out).items()
        )
        found, said, cuda = gpus.result()
        return Machine(
            python=platform.python_version(),
            platform=platform.platform(),
            cores=_cores(),
            memory=_memory(),
            memory_free=available_memory(),
            gpus=found,
            gpu_tool=said,
            cuda=cuda,
            torch=torch_build(),
            disks=disks,
            hub=hub.result(),
        )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def _folders(environ: Mapping[str, str], out: str) -> dict[str, Path]:
    """Use -> folder. The hub's cache is where huggingface_hub looks for it."""
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(environ.get("HF_HOME") or base / "huggingface").expanduser()
    return {
        "runs": Path(out).absolute(),
        "catalogued models": models_folder(environ),
        "hub cache": Path(environ.get("HF_HUB_CACHE") or home / "hub").expanduser(),
        "temporary files": Path(tempfile.gettempdir()),
    }


def find_gpus(environ: Mapping[str, str] | None = None) -> tuple[tuple[Gpu, ...], str, str]:
    """(GPUs, what the tool said where there are none, newest CUDA of the driver)."""
    environ = os.environ if environ is None else environ
    tool = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if tool is None:
        return (), "nvidia-smi is not there: no NVIDIA driver", ""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return (), "CUDA_VISIBLE_DEVICES hides every GPU", ""
    picked = ["-i", visible] if visible else []
    query = f"--query-gpu={','.join(FIELDS)}"
    listed = _ask(tool, query, "--format=csv,noheader,nounits", *picked)
    gpus = tuple(filter(None, map(_gpu, listed.splitlines())))
    if not gpus:
        return (), f"nvidia-smi: {listed.strip()[:200] or 'no answer'}", ""
    newest = re.search(r"CUDA Version:\s*([\d.]+)", _ask(tool))
    return gpus, "", newest[1] if newest else ""


def _ask(tool: str, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            [tool, *arguments], capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stdout or done.stderr


def _gpu(line: str) -> Gpu | None:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(FIELDS):
        return None
    try:
        total, free = (int(cell) * 2**20 for cell in cells[2:4])
    except ValueError:
        return None
    return Gpu(name=cells[0], driver=cells[1], memory=total, free=free, capability=cells[4])


def ask_hub(environ: Mapping[str, str] | None = None, seconds: float = HUB_SECONDS) -> Hub:
    """A HEAD request to the hub. What does not answer in time is not reachable; nothing fails."""
    environ = os.environ if environ is None else environ
    # Shown and saved, so without a password; to ask whether somebody answers needs none.
    endpoint = re.sub(r"//[^/@]*@", "//", environ.get("HF_ENDPOINT") or HUB)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            return Hub(endpoint=endpoint, reachable=None, detail=f"not asked: {name} is set")
    if not endpoint.startswith(("http://", "https://")):
        return Hub(endpoint=endpoint, reachable=False, detail="HF_ENDPOINT is no http address")
    answer: list[Hub] = []
    # A look-up of a name knows no time limit: the thread may be left behind.
    asking = Thread(target=lambda: answer.append(_head(endpoint, seconds)), daemon=True)
    asking.start()
    asking.join(seconds + 0.2)
    silent = Hub(endpoint=endpoint, reachable=False, detail=f"no answer in {seconds:g} s")
    return answer[0] if answer else silent


def _head(endpoint: str, seconds: float) -> Hub:
    try:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310  (http only)
        with urllib.request.urlopen(request, timeout=seconds) as reply:  # noqa: S310
            return Hub(endpoint=endpoint, reachable=True, detail=f"HTTP {reply.status}")
    except urllib.error.HTTPError as error:  # it answers, whatever it says
        good = error.code < 500
        return Hub(endpoint=endpoint, reachable=good, detail=f"HTTP {error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        detail = getattr(reason, "strerror", None) or str(reason) or "no answer"
        return Hub(endpoint=endpoint, reachable=False, detail=detail)

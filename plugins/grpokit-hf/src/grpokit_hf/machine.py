"""What the machine has, read from files: no torch, no driver call."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

__all__ = [
    "PACKAGES",
    "calm_threads",
    "gpu_names",
    "hub_reachable",
    "keep_memory",
    "physical_cores",
    "versions",
]

SIGNS = (Path("/dev/nvidia0"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers")


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Package -> installed version; packages that are missing are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpu_names() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that the driver shows and CUDA_VISIBLE_DEVICES leaves; empty without one."""
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(errors="replace").splitlines()
        model = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
        names.append(model[0] if model else "NVIDIA GPU")
    if not names:  # containers may hide /proc/driver
        names = ["NVIDIA GPU"] * len(list(Path("/dev").glob("nvidia[0-9]*")))
    # Linux under Windows (WSL 2) shows its GPU by the driver that Windows lends, and not in /proc.
    if not names and any(sign.exists() for sign in SIGNS):
        names.append("NVIDIA GPU")
    return visible(names, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(names: Sequence[str], said: str | None) -> tuple[str, ...]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; CUDA reads it up to what is no GPU.

    Instead of a number it may hold an identifier; which GPU that is only the driver knows.
    """
    if said is None:
        return tuple(names)
    left: list[str] = []
    for word in map(str.strip, said.split(",")):
        if word.isdecimal() and int(word) < len(names):
            left.append(names[int(word)])
        elif word.startswith(("GPU-", "MIG-")) and names:
            left.append(names[0])
        else:
            break
    return tuple(left)


def physical_cores(processes: int = 1) -> int:
    """Cores that this process may use, hyper-threads counted once; ``OMP_NUM_THREADS`` goes first.

    Matrix products gain nothing from the second thread of a core. Several processes on a machine share
    its cores; ``OMP_NUM_THREADS`` is said of each of them and holds up to its share.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    asked = int(said) if said.isdecimal() else 0
    if asked and processes == 1:
        return asked
    share = max(1, counted_cores() // processes)
    return min(asked, share) if asked else share


def counted_cores() -> int:
    """Cores that the machine lets this process use, hyper-threads counted once."""
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return max(1, (os.cpu_count() or 2) // 2)
    cores = set()
    for cpu in allowed:
        folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            package = (folder / "physical_package_id").read_text().strip()
            cores.add((package, (folder / "core_id").read_text().strip()))
        except OSError:
            return len(allowed)
    return max(1, len(cores))


def calm_threads() -> None:
    """Lets OpenMP threads sleep soon while they wait for each other; call before torch is imported.

    By default they spin for milliseconds. As soon as another process wants one of the cores, a
    barrier then waits for a thread that is not running: measured on two busy cores, products of
    a small model took five times longer. On an idle machine it makes no difference to speak of.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def keep_memory() -> bool:
    """Tells glibc to keep freed memory for the next step instead of giving it back.

    Touching new memory costs 1 to 5 seconds a gigabyte on small virtual machines, every step
    anew. True if it was done; the process then never shrinks.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return False
    no_mmap = libc.mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap
    no_trim = libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink
    return bool(no_mmap and no_trim)


def hub_reachable(environ: Mapping[str, str], seconds: float = 0.3) -> bool:
    """Whether a connection to the hub (or to the proxy before it) opens within the time.

    Asked once a process. The look-up of a name knows no time limit, so it runs in a thread that may
    be left behind.
    """
    endpoint = environ.get("HF_ENDPOINT") or "https://huggingface.co"
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    parts = urlsplit(proxy or endpoint)
    return _connects(
        parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443), seconds
    )


@cache
def _connects(host: str, port: int, seconds: float) -> bool:
    done = threading.Event()
    opened: list[bool] = []

    def attempt() -> None:
        try:
            with socket.create_connection((host, port), timeout=seconds):
                opened.append(True)
        except OSError:
            pass
        finally:
            done.set()

    threading.Thread(target=attempt, daemon=True).start()
    done.wait(seconds)
    return bool(opened)

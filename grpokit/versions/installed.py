"""What is installed and on what machine, read from files: nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from grpokit.versions.table import canonical

__all__ = ["Installed", "gpu_is_here", "look", "torch_build"]

NVIDIA = Path("/proc/driver/nvidia/gpus")
SIGNS = (Path("/dev/nvidia0"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
"""A GPU's own file; the driver that Windows lends to Linux (WSL 2), which shows no GPU in /proc."""


def gpu_is_here(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the driver shows an NVIDIA GPU that this process may use."""
    environ = os.environ if environ is None else environ
    if environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1"):
        return False
    return any(NVIDIA.glob("*/information")) or any(sign.exists() for sign in SIGNS)


def torch_build() -> str:
    """What torch is built for: ``cpu``, ``cuda 13.0``, ``rocm 7.0``; empty without torch.

    Read from the file that torch's build writes.
    """
    package = find_spec("torch")
    if package is None or package.origin is None:
        return ""
    try:
        text = (Path(package.origin).parent / "version.py").read_text("utf-8")
    except OSError:
        return "unknown"
    for label, name in (("cuda", "cuda"), ("rocm", "hip"), ("xpu", "xpu")):
        found = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            return f"{label} {found[1]}"
    return "cpu"


@cache
def _read(name: str) -> tuple[str | None, tuple[str, ...]]:
    """(version, requirements) of an installed distribution; (None, ()) without it.

    importlib.metadata parses the whole file, description and all, each time that it is asked.
    """
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None, ()
    head = (found.read_text("METADATA") or "").partition("\n\n")[0]
    version = re.search(r"^Version:[ \t]*(\S+)", head, re.MULTILINE)
    if version is None:  # an old format, or a malformed file
        return found.version, tuple(found.requires or ())
    return version[1], tuple(re.findall(r"^Requires-Dist:[ \t]*(.+?)\s*$", head, re.MULTILINE))


def _requires(name: str) -> Sequence[str]:
    return _read(name)[1]


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Versions by canonical name, and what decides whether they fit.

    Attributes:
        machine: ``cpu`` or ``cuda``.
        requires: name -> its requirements as its metadata has them; replaced in tests.
    """

    versions: Mapping[str, str]
    machine: str
    python: str = field(default_factory=platform.python_version)
    requires: Callable[[str], Sequence[str]] = _requires

    def version(self, name: str) -> str | None:
        """Of a package that was not among those looked at, too."""
        key = canonical(name)
        return self.versions[key] if key in self.versions else _version(key)


def _version(name: str) -> str | None:
    return _read(name)[0]


def look(names: Iterable[str], machine: str = "") -> Installed:
    """Looks the named packages up; the machine is found out if it is not given."""
    found = {canonical(name): _version(name) for name in names}
    return Installed(
        versions={name: version for name, version in found.items() if version is not None},
        machine=machine or ("cuda" if gpu_is_here() and torch_build() != "cpu" else "cpu"),
    )

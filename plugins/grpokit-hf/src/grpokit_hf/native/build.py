"""Compiles the C code of this folder once for this machine, and loads it.

It is compiled for the very processor, so the library's name says for which: another processor, another
compiler or other code makes another one. Without a compiler, or where anything goes wrong, there is no
library, and torch computes what it would have.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpokit.api import models

__all__ = ["FLAGS", "build", "compiler", "folder", "library"]

log = logging.getLogger("grpokit.hf")

HERE = Path(__file__).parent
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-fPIC"),
    *("-fno-strict-aliasing", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"),
)
SIZED = (
    *("grpokit_scratch", "grpokit_size", "grpokit_attention_scratch"),
    *("grpokit_products", "grpokit_product_scratch", "grpokit_head_scratch"),
)
"""Functions that return a number."""
SECONDS = 120
"""After which a compiler is given up."""


class NoLibraryError(Exception):
    """Why there is no library."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, or None; compiled if need be. The reason for None is told once."""
    try:
        found = ctypes.CDLL(str(build(os.environ)))
        found.grpokit_begin()
        for name in SIZED:
            getattr(found, name).restype = ctypes.c_int64
    except (NoLibraryError, OSError, AttributeError) as error:
        log.info("grpokit's C code is not used: %s", error)
        return None
    return found


def build(environ: Mapping[str, str]) -> Path:
    """The library's file. Raises NoLibraryError."""
    tool = compiler(environ)
    place = folder(environ)
    path = place / f"grpokit-{fingerprint(tool)}.so"
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        try:
            compiled(tool, Path(scratch)).replace(path)
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or "").strip().splitlines() or ["no message"]
            raise NoLibraryError(f"{tool[0]} failed: {lines[0][:200]}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoLibraryError(f"{tool[0]}: {error}") from error
    return path


def compiled(tool: tuple[str, ...], scratch: Path) -> Path:
    """The library, in ``scratch``: files are compiled side by side, the longest first, then linked."""
    sources = sorted(HERE.glob("*.c"), key=lambda path: path.stat().st_size, reverse=True)
    objects = [scratch / f"{source.stem}.o" for source in sources]

    def compile_one(source: Path, made: Path) -> None:
        run([*tool, *FLAGS, "-c", str(source), "-o", str(made)], check=True)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(compile_one, sources, objects):
            pass
    made = scratch / "made.so"
    run([*tool, *FLAGS, "-shared", *map(str, objects), "-o", str(made), "-lm"], check=True)
    return made


def run(command: list[str], *, check: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the user's compiler and our own file
        command, check=check, capture_output=True, timeout=SECONDS, text=True
    )


def compiler(environ: Mapping[str, str]) -> tuple[str, ...]:
    """``$CC`` with its arguments, or the first of cc, gcc and clang on the path."""
    own = shlex.split(environ.get("CC", ""))
    names = own[:1] or ["cc", "gcc", "clang"]
    for name in names:
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            return (found, *own[1:])
    raise NoLibraryError(f"no C compiler: {', '.join(names)} not found on the path")


def folder(environ: Mapping[str, str]) -> Path:
    """Where libraries are kept. Nobody else may write there, because what lies there is executed."""
    place = models.models_folder(environ).parent / "native"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.stat()
    except OSError as error:
        raise NoLibraryError(f"no folder for the library: {error}") from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise NoLibraryError(f"others may write to {place}: chmod 700 {place}")
    return place


@functools.cache
def fingerprint(tool: tuple[str, ...]) -> str:
    """Of code, compiler and processor."""
    told = hashlib.sha256(repr(FLAGS).encode())
    for source in sorted(HERE.glob("*.[ch]")):
        told.update(source.read_bytes())
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        told.update(run([*tool, "--version"]).stdout.encode())
    told.update(f"{tool} {platform.machine()} {platform.processor()}".encode())
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
        kept = [line for line in lines if line.startswith(("model", "flags", "Features", "CPU "))]
        told.update("\n".join(kept).encode())
    return told.hexdigest()[:16]

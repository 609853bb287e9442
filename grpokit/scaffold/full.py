"""What a plugin's workflow runs besides the checks: its tests, and the two steps of its smoke recipe."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from grpokit.scaffold.findings import Check, errors, warnings

__all__ = ["SMOKE", "check_smoke", "check_tests"]

SMOKE = "smoke"
"""The recipe that takes two steps."""
SECONDS = 1200
SHOWN = 20
"""Last lines of what failed that are shown."""


def check_tests(folder: Path, environ: Mapping[str, str]) -> Check:
    """The project's tests, about the package that comes first in this environment."""
    tests = folder / "tests"
    if not tests.is_dir():
        return Check("tests", warnings(["there is no folder tests"]))
    if find_spec("pytest") is None:
        return Check("tests", errors(["pytest is not installed; pip install pytest"]))
    # -P: without the folder itself on the path, so that not the source is what is tested.
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    return _run("tests", command, folder, environ)


def check_smoke(plugin: str, site: Path, cwd: Path, environ: Mapping[str, str]) -> Check:
    """Trains with the recipe ``smoke`` of the plugin in ``site``, if it has one."""
    if not any(site.rglob(f"{SMOKE}.yaml")):
        return Check("smoke", note=f"it has no recipe {SMOKE}", skipped=True)
    name = f"{plugin}/{SMOKE}"
    command = [sys.executable, "-P", "-m", "grpokit", "train", name, "--plain"]
    return _run("smoke", command, cwd, environ)


def _run(name: str, command: list[str], cwd: Path, environ: Mapping[str, str]) -> Check:
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(name, errors([f"it did not end within {SECONDS} s"]))
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        told = "\n".join([f"it ended with code {done.returncode}", *lines[-SHOWN:]])
        return Check(name, errors([told]))
    return Check(name, note=next(_summaries(lines), ""))


def _summaries(lines: list[str]) -> Iterator[str]:
    """``2 passed in 0.45s``, ``done: 2 steps``."""
    for line in reversed(lines):
        if line.startswith("done: "):
            yield line.removeprefix("done: ").partition(";")[0]
        elif " passed" in line or " no tests" in line:
            yield line.strip("= ")

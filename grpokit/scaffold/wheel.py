"""A project's wheel: built as its author builds it, and installed apart from everything else."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.errors import GrpokitError, PreflightError
from grpokit.registry.record import GROUP, plugin_name

__all__ = [
    "BuildError",
    "Project",
    "build_wheel",
    "install_wheel",
    "read_project",
    "wheel_problems",
]

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
SECONDS = 300
SHOWN = 12
"""Last lines of a failed build that are shown."""


class BuildError(GrpokitError):
    """The wheel could not be built or installed; the fact is what the tool said."""


@dataclass(frozen=True)
class Project:
    """A folder with a ``pyproject.toml`` of a plugin."""

    folder: Path
    name: str
    """Of the plugin."""
    backend: str
    """The module that builds it."""


def read_project(folder: Path) -> Project:
    """The project of a folder.

    Raises:
        PreflightError: it is not that of a plugin.
    """
    path = folder / "pyproject.toml"
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PreflightError(
            f"it cannot be read: {getattr(error, 'strerror', None) or error}",
            place=str(path),
            remedy="`grpokit plugins new reward NAME` writes a whole package",
        ) from error
    section = _table(data, "project")
    name, points = section.get("name"), _table(section, "entry-points").get(GROUP)
    if not isinstance(name, str) or not isinstance(points, dict) or not points:
        raise PreflightError(
            f"it names no entry point in the group {GROUP!r}, so it is no plugin",
            place=str(path),
            remedy=f'add [project.entry-points.{GROUP}] with NAME = "your_package.hooks"',
        )
    backend = _table(data, "build-system").get("build-backend", "setuptools")
    return Project(folder=folder.resolve(), name=plugin_name(name), backend=str(backend))


def _table(data: Any, key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def can_build() -> bool:
    return find_spec("pip") is not None


def build_wheel(project: Project, out: Path) -> Path:
    """Builds the wheel; with the installed build backend where there is one, so without a network.

    Raises:
        BuildError: with the last lines that pip wrote.
    """
    here = _has_module(project.backend)
    apart = ["--no-build-isolation"] if here else []
    _run([*PIP, "wheel", "--no-deps", *apart, "--wheel-dir", str(out), str(project.folder)])
    found = sorted(out.glob("*.whl"))
    if len(found) != 1:
        raise BuildError(f"the build left {len(found)} wheels")
    return found[0]


def install_wheel(wheel: Path, site: Path) -> None:
    """Installs the wheel alone into a folder of its own.

    Raises:
        BuildError: with the last lines that pip wrote.
    """
    # --isolated: PIP_USER, PIP_PREFIX and the like say where other packages go.
    options = ["--isolated", "--no-deps", "--no-index", "--no-compile", "--target", str(site)]
    _run([*PIP, "install", *options, str(wheel)])


def wheel_problems(project: Project, wheel: Path) -> Iterator[str]:
    """What the folder has and the wheel lacks, or has and should not."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    if any(name.startswith(("tests/", "test/")) for name in inside):
        yield "it installs a package `tests` beside the plugin; name the package in the build settings"
    root = project.folder / "src" if (project.folder / "src").is_dir() else project.folder
    for module in sorted({name.split("/")[0] for name in inside if name.endswith("/__init__.py")}):
        for path in sorted((root / module).rglob("*")):
            name = path.relative_to(root).as_posix()
            data = path.suffix in (".yaml", ".yml", ".py", ".json", ".jsonl") and path.is_file()
            if data and name not in inside:
                yield f"{name} is not in it"


def _has_module(name: str) -> bool:
    try:
        return find_spec(name.partition(":")[0].partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _run(command: list[str]) -> None:
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environ
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"pip did not end within {SECONDS} s") from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise BuildError("\n".join(lines[-SHOWN:]) or f"pip ended with {done.returncode}")

"""``grpokit plugins check``: what a plugin's CI asks, asked here.

A folder is checked through its wheel: built, installed apart, and looked at by a process that finds
it before anything else of that name. So what is checked is what would be published.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from grpokit.errors import PreflightError
from grpokit.scaffold.findings import Check, Finding, errors
from grpokit.scaffold.full import check_smoke, check_tests
from grpokit.scaffold.plugin import check_installed
from grpokit.scaffold.wheel import (
    BuildError,
    Project,
    build_wheel,
    can_build,
    install_wheel,
    read_project,
    wheel_problems,
)

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog

__all__ = ["Report", "check_target"]

SECONDS = 600


@dataclass(frozen=True)
class Report:
    """All checks of one plugin."""

    plugin: str
    checks: tuple[Check, ...]

    def ok(self, *, strict: bool = False) -> bool:
        """Nothing is wrong; ``strict``: nothing is poor either."""
        bad = ("error", "warning") if strict else ("error",)
        return not any(check.state in bad for check in self.checks)


def check_target(
    target: str, catalog: Catalog, *, build: bool = True, full: bool = False
) -> Report:
    """Checks the installed plugin of this name, or the project in this folder.

    ``full`` runs the project's tests and its smoke recipe as well, with the wheel.

    Raises:
        PreflightError: the folder is not that of a plugin, or there is nothing to run.
    """
    target = _plugin_of(target, catalog)
    known = any(record.name == target for record in catalog.plugins)
    if known:
        folder = _source(catalog, target)
    else:
        path = Path(target)
        folder = path if path.is_dir() or "/" in target or target.startswith(".") else None
    if full and (folder is None or not build or not can_build()):
        raise PreflightError(
            "the tests are run with a wheel that is built here",
            place="--full",
            remedy="name the project's folder, install pip, and leave out --no-build",
        )
    if folder is None:
        return Report(target, tuple(check_installed(catalog, target)))
    project = read_project(folder)
    if build and can_build():
        return _check_wheel(project, full=full)
    why = "pip is not installed" if build else "not asked for"
    checks = [Check("wheel", note=why, skipped=True), *check_installed(catalog, project.name)]
    return Report(project.name, tuple(checks))


def _plugin_of(target: str, catalog: Catalog) -> str:
    """``near`` for ``grpokit-near``, if that is what is installed and no folder has the name."""
    for record in catalog.plugins:
        if record.distribution == target != record.name and not Path(target).is_dir():
            return record.name
    return target


def _source(catalog: Catalog, name: str) -> Path | None:
    """The folder from which a plugin is installed to be edited (``pip install -e``)."""
    record = next(record for record in catalog.plugins if record.name == name)
    try:
        told = json.loads(distribution(record.distribution).read_text("direct_url.json") or "{}")
        url = urlsplit(told["url"])
        editable = told["dir_info"]["editable"]
    except (PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    folder = Path(unquote(url.path))
    return folder if editable and (folder / "pyproject.toml").is_file() else None


def _check_wheel(project: Project, *, full: bool) -> Report:
    with tempfile.TemporaryDirectory(prefix="grpokit-check-") as work:
        out, site = Path(work) / "dist", Path(work) / "site"
        try:
            wheel = build_wheel(project, out)
            install_wheel(wheel, site)
        except BuildError as error:
            return Report(project.name, (Check("wheel", errors([str(error)])),))
        size = wheel.stat().st_size / 1000
        found = errors(wheel_problems(project, wheel))
        first = Check("wheel", found, note=f"{wheel.name}, {size:.0f} kB")
        environ = _with(site)
        checks = [first, *_look(project.name, Path(work), environ)]
        if full:
            checks.append(check_tests(project.folder, environ))
            checks.append(check_smoke(project.name, site, Path(work), environ))
        return Report(project.name, tuple(checks))


def _with(site: Path) -> dict[str, str]:
    """The environment of a process in which the wheel comes before everything else."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        key: value
        for key, value in os.environ.items()
        if key not in ("GRPOKIT_PLUGINS", "GRPOKIT_DISABLE")
    } | {"PYTHONPATH": os.pathsep.join(paths)}


def _look(name: str, cwd: Path, environ: dict[str, str]) -> tuple[Check, ...]:
    command = [sys.executable, "-m", "grpokit", "plugins", "check", name, "--no-build", "--json"]
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command,
            cwd=cwd,
            env=environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        told = json.loads(done.stdout)["checks"]
    except subprocess.TimeoutExpired:
        return (Check("loaded", errors([f"the checks did not end within {SECONDS} s"])),)
    except (ValueError, KeyError):
        last = done.stderr.strip()[-2000:] or "without a word"
        text = f"the process that looks at the plugin ended with code {done.returncode}: {last}"
        return (Check("loaded", errors([text])),)
    return tuple(
        Check(
            name=each["name"],
            findings=tuple(Finding(one["text"], one["level"]) for one in each["findings"]),
            note=each["note"],
            skipped=each["state"] == "skipped",
        )
        for each in told
        if each["name"] != "wheel"
    )

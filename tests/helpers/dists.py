"""Real distributions for tests of discovery: modules and metadata, as an installer leaves them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REWARD_HOOKS = """
from grpokit.api import RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    return [RewardSpec(name={name!r}, summary="A reward.", target={target!r})]
"""


def reward_hooks(name: str, target: str = "json:dumps") -> str:
    """Source of a hook module with one reward."""
    return REWARD_HOOKS.format(name=name, target=target)


def contents(
    name: str, hooks: str | None, *, version: str, files: Mapping[str, str], points: str | None
) -> dict[str, str]:
    """Path -> text of an installed distribution. ``hooks`` None: the module is missing."""
    package = name.replace("-", "_").replace(".", "_").lower()
    entry = f"[grpokit]\n{name} = {package}.hooks\n" if points is None else points
    info = f"{package}-{version}.dist-info"
    found = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry,
    }
    if hooks is not None:
        found[f"{package}/__init__.py"] = ""
        found[f"{package}/hooks.py"] = textwrap.dedent(hooks)
    for path, text in files.items():
        found[f"{package}/{path}"] = textwrap.dedent(text)
    return found


def install(
    folder: Path,
    name: str,
    hooks: str | None,
    *,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    points: str | None = None,
) -> None:
    """Writes the distribution into a folder that is to stand on the import path."""
    listed = contents(name, hooks, version=version, files=files or {}, points=points)
    for path, text in listed.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


def pip_install(folder: Path, wheels: Path, name: str, hooks: str, *, version: str = "1.0") -> None:
    """Builds a wheel and lets pip install it into the folder."""
    listed = contents(name, hooks, version=version, files={}, points=None)
    package = name.replace("-", "_")
    wheel = wheels / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        record = []
        for path, text in listed.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(text.encode())}")
        target = f"{package}-{version}.dist-info/RECORD"
        archive.writestr(target, "\n".join([*record, f"{target},,"]) + "\n")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(wheel)],
        check=True,
        timeout=120,
    )


def grpokit(
    *args: str, path: Path | None = None, env: Mapping[str, str] | None = None, code: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m grpokit``, or ``code``, with the folder of distributions on the path."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GRPOKIT_") and key not in ("PYTHONPATH", "NO_COLOR")
    }
    environ |= {"PYTHONPATH": str(path)} if path is not None else {}
    environ |= env or {}
    command = ["-c", code, *args] if code else ["-m", "grpokit", *args]
    return subprocess.run(
        [sys.executable, *command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plugins(path: Path, **env: str) -> dict[str, dict[str, Any]]:
    """``grpokit plugins list --json`` by distribution (by plugin name without one)."""
    done = grpokit("plugins", "list", "--json", path=path, env=env)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["plugins"]
    return {item["distribution"] or item["name"]: item for item in listed}

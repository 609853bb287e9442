"""What a plugin imports: at the start of every command, and without having told pip."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    packages_distributions,
)
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from grpokit.scaffold.findings import Check, warnings

if TYPE_CHECKING:
    from grpokit.registry.record import PluginRecord

__all__ = ["check_imports"]

HEAVY = ("torch", "transformers", "numpy", "pandas", "datasets", "scipy", "sympy", "jax", "vllm")
"""Packages that take long to import."""
SECONDS = 120
_ASK = """\
import importlib, sys
import grpokit.api
before = set(sys.modules)
for name in sys.argv[2:]:
    importlib.import_module(name)
print("\\nheavy:" + ",".join(name for name in sys.argv[1].split(",") if name in set(sys.modules) - before))
"""


def check_imports(record: PluginRecord) -> Check:
    """Hooks that import something heavy, and packages that no dependency brings."""
    modules = [point.strip().partition(":")[0] for point in record.module.split(",")]
    packages = sorted({module.partition(".")[0] for module in modules})
    found = [*_heavy(modules), *_undeclared(record, packages)]
    return Check("imports", warnings(found), note=", ".join(modules))


def _heavy(modules: list[str]) -> Iterator[str]:
    """Asked in a fresh process: here the other plugins are imported already."""
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            [sys.executable, "-c", _ASK, ",".join(HEAVY), *modules],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return  # what cannot be imported at all is told elsewhere
    names = done.stdout.rpartition("\nheavy:")[2].strip()
    if names:
        yield (
            f"{', '.join(modules)} imports {names.replace(',', ', ')}, which every command would wait "
            "for; name the code in `target` and import it there"
        )


def _undeclared(record: PluginRecord, packages: list[str]) -> Iterator[str]:
    try:
        brought = _brought(distribution(record.distribution))
    except PackageNotFoundError:
        return
    owners = packages_distributions()
    told: set[str] = set()
    for package in packages:
        for path, text in _sources(files(package)):
            for name in _imports(text):
                known = {_normal(each) for each in owners.get(name, ())}
                own = name in packages or name in sys.stdlib_module_names
                if own or name in told or not known or known & brought:
                    continue
                told.add(name)
                yield (
                    f"{path} imports {name}, and no dependency brings it: add "
                    f'"{owners[name][0]}" to dependencies'
                )


def _sources(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda each: each.name):
        if item.is_dir():
            yield from _sources(item, f"{prefix}{item.name}/")
        elif item.name.endswith(".py"):
            yield prefix + item.name, item.read_bytes().decode("utf-8", "replace")


def _imports(text: str) -> Iterator[str]:
    """Top-level packages that a module imports as soon as it is imported itself."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # told where it is imported
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def _brought(dist: Distribution) -> set[str]:
    """Distributions that pip installs with this one, with or without its extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    extras = frozenset(dist.metadata.get_all("Provides-Extra") or [])
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(dist, extras)]
    while todo:
        here, wanted = todo.pop()
        for line in here.requires or []:
            try:
                need = Requirement(line)
            except InvalidRequirement:
                continue
            given = [{"extra": extra} for extra in ("", *wanted)]
            if need.marker and not any(need.marker.evaluate(each) for each in given):
                continue
            key = (_normal(need.name), frozenset(need.extras))
            found.add(key[0])
            if key not in seen:
                seen.add(key)
                try:
                    todo.append((distribution(need.name), key[1]))
                except PackageNotFoundError:
                    continue
    return found


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")

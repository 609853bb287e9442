"""The constraints file of a set, what else a machine needs, and the commands that install it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpokit.versions.table import VersionSet

__all__ = ["MARK", "commands", "constraints_text", "install_words", "requirements_text", "write"]

MARK = "grpokit doctor --write-constraints"
"""Stands in every written file, so that no other file is overwritten."""


def constraints_text(chosen: VersionSet) -> str:
    """One ``package==version`` a line; the same for every machine."""
    lines = [
        f"# {chosen.summary}: versions that were run together. Use it with: pip install -c <this file> ...",
        f"# Made by `{MARK} {chosen.name}`.",
        *(f"{name}=={version}" for name, version in chosen.pins.items()),
    ]
    last = {
        name: version
        for machine in chosen.machines.values()
        for name, version in machine.no_deps.items()
    }
    lines += [f"{name}=={version}" for name, version in last.items()]
    if chosen.development:
        lines += ["# only to compare with, in tests"]
        lines += [f"{name}=={version}" for name, version in chosen.development.items()]
    if chosen.also:
        lines += ["# what these bring along"]
        lines += [f"{name}=={version}" for name, version in chosen.also.items()]
    return "\n".join(lines) + "\n"


def requirements_text(chosen: VersionSet, machine: str) -> str:
    """What the packages that are installed without their dependencies need; empty if there are none."""
    here = chosen.machines[machine]
    if not here.no_deps:
        return ""
    last = " with ".join(f"{name} {version}" for name, version in here.no_deps.items())
    out = ", ".join(sorted(here.leave_out))
    return "\n".join(
        [
            f"# What {last} needs on a machine without a GPU, apart from {out}.",
            f"# Made by `{MARK} {chosen.name} --machine {machine}`.",
            *here.requires,
            "",
        ]
    )


def commands(
    chosen: VersionSet, machine: str, constraints: Path | str, requirements: Path | str
) -> tuple[str, ...]:
    """The pip commands, in order."""
    here = chosen.machines[machine]
    first = ["pip", "install", "-c", str(constraints)]
    if here.no_deps:
        first += ["-r", str(requirements)]
    found = [shlex.join([*first, *here.install])]
    if here.no_deps:
        last = [f"{name}=={version}" for name, version in here.no_deps.items()]
        found.append(shlex.join(["pip", "install", "--no-deps", *last]))
    return tuple(found)


def install_words(chosen: VersionSet) -> str:
    """The one command that says the others."""
    return f"{MARK} {chosen.name}"


def write(path: Path, text: str) -> None:
    """Writes a file, but never over one that this command did not write.

    Raises:
        FileExistsError: the file is someone else's.
        OSError: the folder cannot be written to.
    """
    if path.exists() and MARK not in path.read_text("utf-8", errors="replace"):
        raise FileExistsError(str(path))
    path.write_text(text, encoding="utf-8")

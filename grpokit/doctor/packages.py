"""The packages of the version table: what is installed, what was tested, what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.versions.conflicts import fits

if TYPE_CHECKING:
    from grpokit.versions.installed import Installed
    from grpokit.versions.table import Table

__all__ = ["Package", "list_packages"]


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package of the table.

    Attributes:
        version: the installed one, empty where it is not installed.
        tested: the versions that were run, one for each that some set pins.
        misfits: names of the sets whose range the installed version is outside of.
    """

    name: str
    version: str
    tested: tuple[str, ...]
    misfits: tuple[str, ...]


def list_packages(table: Table, installed: Installed) -> tuple[Package, ...]:
    """Every package that some set is about, in the table's order."""
    return tuple(_package(name, table, installed) for name in table.packages)


def _package(name: str, table: Table, installed: Installed) -> Package:
    version = installed.versions.get(name, "")
    tested = [
        pins[name]
        for each in table.sets.values()
        for pins in (each.pins, *(machine.no_deps for machine in each.machines.values()))
        if name in pins
    ]
    tested += [other for each in table.sets.values() for other in each.tried.get(name, ())]
    outside = [
        each.name
        for each in table.sets.values()
        if version and name in each.ranges and not fits(version, each.ranges[name])
    ]
    return Package(
        name=name,
        version=version,
        tested=tuple(dict.fromkeys(tested)),
        misfits=tuple(outside),
    )

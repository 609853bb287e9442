"""``versions.yaml`` as frozen data."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet

from grpokit.errors import RecipeError

__all__ = ["MACHINES", "Conflict", "Machine", "Table", "VersionSet", "canonical", "load_table"]

MACHINES = ("cpu", "cuda")


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it: ``huggingface_hub`` is ``huggingface-hub``."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a set needs on one kind of machine; the fields are explained in ``versions.yaml``."""

    ran: str
    install: tuple[str, ...]
    requires: tuple[str, ...] = ()
    requirements: str = ""
    no_deps: Mapping[str, str] = field(default_factory=dict)
    leave_out: frozenset[str] = frozenset()
    relaxed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VersionSet:
    """Versions that were run together for one backend."""

    name: str
    backend: str
    distribution: str
    summary: str
    constraints: str
    needs: tuple[str, ...]
    pins: Mapping[str, str]
    tried: Mapping[str, tuple[str, ...]]
    also: Mapping[str, str]
    development: Mapping[str, str]
    ranges: Mapping[str, SpecifierSet]
    switch: Mapping[str, Any]
    machines: Mapping[str, Machine]

    @property
    def use(self) -> str:
        """What a recipe writes under ``backend``."""
        if not self.switch:
            return f"{{use: {self.backend}}}"
        settings = ", ".join(f"{key}: {value}" for key, value in self.switch.items())
        return f"{{use: {self.backend}, with: {{{settings}}}}}"

    @property
    def members(self) -> tuple[str, ...]:
        """The packages that matter: pinned ones, and those that are installed last."""
        last = [name for machine in self.machines.values() for name in machine.no_deps]
        return tuple(dict.fromkeys([*self.needs, *self.pins, *self.ranges, *last]))


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Versions that do not run together."""

    id: str
    packages: Mapping[str, SpecifierSet]
    level: str
    fact: str
    remedy: str
    sets: tuple[str, ...]
    source: Mapping[str, str]
    example: Mapping[str, str]
    machine: str = ""
    python: SpecifierSet = field(default_factory=SpecifierSet)
    unless: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """For people: the metadata that says it, or who measured it."""
        if "metadata" in self.source:
            package, _, version = self.source["metadata"].rpartition("-")
            return f"metadata of {package} {version}"
        return f"measured {self.source['measured']}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """All sets by name, all conflicts."""

    sets: Mapping[str, VersionSet]
    conflicts: tuple[Conflict, ...]

    def named(self, name: str) -> VersionSet:
        """The set of this name.

        Raises:
            RecipeError: there is none; with what was probably meant.
        """
        if name in self.sets:
            return self.sets[name]
        near = difflib.get_close_matches(name.lower(), self.sets, n=1)
        raise RecipeError(
            f"there are no versions for the backend {name[:60]!r}",
            remedy=(f"did you mean {near[0]!r}? " if near else "")
            + f"There are versions for {', '.join(self.sets)}",
        )

    @property
    def packages(self) -> tuple[str, ...]:
        """Every package that some set is about, in the table's order."""
        return tuple(dict.fromkeys(name for each in self.sets.values() for name in each.members))

    def of_backend(
        self, backend: str, distribution: str, settings: Mapping[str, Any]
    ) -> tuple[VersionSet, ...]:
        """The sets that a recipe with this backend of this distribution and these settings needs."""
        return tuple(
            each
            for each in self.sets.values()
            if (each.backend, each.distribution) == (backend, distribution)
            and all(settings.get(key) == value for key, value in each.switch.items())
        )


@cache
def load_table() -> Table:
    """The shipped table, read once."""
    text = files("grpokit.versions").joinpath("versions.yaml").read_text("utf-8")
    return read_table(text)


def read_table(text: str) -> Table:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(text, Loader=loader)  # noqa: S506  (both are safe loaders)
    if data.get("format") != 1:
        raise ValueError(f"versions.yaml has format {data.get('format')}, not 1")
    sets: dict[str, VersionSet] = {}
    for name, given in data["sets"].items():
        sets[name] = _set(name, given, sets.get(given.get("extends", "")))
    return Table(sets=sets, conflicts=tuple(map(_conflict, data["conflicts"])))


def _set(name: str, given: Mapping[str, Any], base: VersionSet | None) -> VersionSet:
    ranges = {key: SpecifierSet(text) for key, text in given.get("ranges", {}).items()}
    pins = {**(base.pins if base else {}), **given.get("pins", {})}
    return VersionSet(
        name=name,
        backend=given["backend"],
        distribution=given["distribution"],
        summary=given["summary"],
        constraints=given["constraints"],
        needs=(*(base.needs if base else ()), *given["needs"]),
        pins=pins,
        tried={key: tuple(found) for key, found in given.get("tried", {}).items()},
        also=given.get("also", {}),
        development=given.get("development", {}),
        ranges={**(base.ranges if base else {}), **ranges},
        switch=given.get("switch", {}),
        machines={key: _machine(given["machines"][key]) for key in MACHINES},
    )


def _machine(given: Mapping[str, Any]) -> Machine:
    return Machine(
        ran=given["ran"],
        install=tuple(given["install"]),
        requires=tuple(given.get("requires", ())),
        requirements=given.get("requirements", ""),
        no_deps=given.get("no_deps", {}),
        leave_out=frozenset(given.get("leave_out", ())),
        relaxed=given.get("relaxed", {}),
    )


def _conflict(given: Mapping[str, Any]) -> Conflict:
    return Conflict(
        id=given["id"],
        packages={name: SpecifierSet(text) for name, text in given["packages"].items()},
        level=given["level"],
        fact=given["fact"],
        remedy=given["remedy"],
        sets=tuple(given["sets"]),
        source=given["source"],
        example=given["example"],
        machine=given.get("machine", ""),
        python=SpecifierSet(given.get("python", "")),
        unless=tuple(given.get("unless", ())),
    )

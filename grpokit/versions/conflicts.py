"""What of the installed packages does not fit together, and what would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from grpokit.spec.contracts import Problem
from grpokit.versions.installed import look
from grpokit.versions.table import canonical, load_table

if TYPE_CHECKING:
    from grpokit.versions.installed import Installed
    from grpokit.versions.table import Conflict, Table, VersionSet

__all__ = [
    "VERSION_CODES",
    "conflicts_of",
    "fits",
    "known_conflicts",
    "out_of_range",
    "unmet_requirements",
    "version_problems",
]

VERSION_CODES: dict[str, str] = {
    "V701": "Installed versions are known not to run together (the table of `grpokit doctor`).",
    "V702": "A package of the backend requires another version than the installed one, or one that is missing.",
    "V703": "An installed version is outside what the backend was made for.",
    "V704": "A package of the backend is installed and cannot be imported (`grpokit doctor --import`).",
}
"""What versions can do to a run. `plan` and `doctor` say these."""


def fits(version: str, wanted: SpecifierSet) -> bool:
    """Whether a version is wanted; pre-releases and builds count like releases."""
    try:
        return wanted.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def known_conflicts(table: Table, installed: Installed) -> tuple[Conflict, ...]:
    """The table's conflicts that are here."""
    return tuple(each for each in table.conflicts if _is_here(each, installed))


def _is_here(conflict: Conflict, installed: Installed) -> bool:
    if conflict.machine not in ("", installed.machine):
        return False
    if not fits(installed.python, conflict.python):
        return False
    if any(installed.versions.get(name) for name in conflict.unless):
        return False
    return all(
        name in installed.versions and fits(installed.versions[name], wanted)
        for name, wanted in conflict.packages.items()
    )


def version_problems(
    backend: str, distribution: str, settings: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """What versions have to say to a recipe with this backend: the hook of the plan."""
    table = load_table()
    sets = table.of_backend(backend, distribution, settings)
    if not sets:
        return ()
    installed = look(table.packages)
    return conflicts_of(sets, table, installed)


def conflicts_of(
    sets: Sequence[VersionSet], table: Table, installed: Installed
) -> tuple[Problem, ...]:
    """All problems of these sets; where several say the same, the table's word goes first."""
    names = {each.name for each in sets}
    known = [each for each in known_conflicts(table, installed) if names & set(each.sets)]
    problems = [
        Problem(
            level=each.level,
            code="V701",
            key="backend.use",
            fact=f"{_versions(each, installed)}: {each.fact} ({each.origin})",
            remedy=each.remedy,
        )
        for each in known
    ]
    told = {name for each in known if each.level != "info" for name in each.packages}
    seen: set[str] = set()
    for each in sets:
        for name, problem in (
            *unmet_requirements(each, installed),
            *out_of_range(each, installed),
        ):
            if name not in told and name not in seen:
                seen.add(name)
                problems.append(problem)
    return tuple(problems)


def _versions(conflict: Conflict, installed: Installed) -> str:
    return " with ".join(f"{name} {installed.versions[name]}" for name in conflict.packages)


def unmet_requirements(chosen: VersionSet, installed: Installed) -> Iterator[tuple[str, Problem]]:
    """(package, problem) for what the set's packages require and do not find.

    What the table leaves out on this machine may be missing.
    """
    machine = chosen.machines[installed.machine]
    for owner in chosen.members:
        if owner not in installed.versions:
            continue
        for text in installed.requires(owner):
            requirement = _applies(text)
            if requirement is None:
                continue
            name = canonical(requirement.name)
            version = installed.version(name)
            if version is None and name in machine.leave_out:
                continue
            if version is not None and (
                name in machine.relaxed or fits(version, requirement.specifier)
            ):
                continue
            here = f"{name} {version} is installed" if version else f"{name} is not installed"
            wanted = f"{name}{requirement.specifier}"
            yield (
                name,
                Problem(
                    level="warning",
                    code="V702",
                    key="backend.use",
                    fact=f"{owner} {installed.versions[owner]} requires {wanted}, and {here}",
                    remedy=_remedy(chosen, name, wanted),
                ),
            )


def out_of_range(chosen: VersionSet, installed: Installed) -> Iterator[tuple[str, Problem]]:
    """(package, problem) for installed versions outside the set's ranges."""
    for name, wanted in chosen.ranges.items():
        version = installed.versions.get(name)
        if version is None or fits(version, wanted):
            continue
        yield (
            name,
            Problem(
                level="warning",
                code="V703",
                key="backend.use",
                fact=f"{name} {version} is installed; {chosen.name} was made for {name}{wanted}",
                remedy=_remedy(chosen, name, f"{name}{wanted}"),
            ),
        )


def _remedy(chosen: VersionSet, name: str, wanted: str) -> str:
    pin = {**chosen.also, **chosen.pins}.get(name)
    return f'pip install "{name}=={pin}"' if pin else f'pip install "{wanted}"'


def _applies(text: str) -> Requirement | None:
    """The requirement, if it holds on this Python and platform and belongs to no extra."""
    if "extra ==" in text:
        return None
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    return requirement

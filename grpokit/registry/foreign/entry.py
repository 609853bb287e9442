"""A foreign reward as an entry of the catalog: made from its name, nothing is imported."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from grpokit.errors import ComponentError
from grpokit.registry.foreign.defined import refuse_undefined
from grpokit.registry.foreign.reference import FLAG, Reference, parse
from grpokit.registry.foreign.sniff import look, misread, reading, source_file, the_file, the_module
from grpokit.registry.record import PluginRecord
from grpokit.spec.components import RewardSpec

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry

__all__ = ["check", "entry_of", "refusal", "source_digest", "what_is_imported"]

_HERE = "grpokit.registry.foreign"
_SETTINGS = {
    "trl": "TrlSettings",
    "verl": "VerlSettings",
    "verifiers": "VerifiersSettings",
    "reasoning_gym": "ReasoningGymSettings",
}


def entry_of(text: str) -> Entry:
    """The entry that stands for a reference.

    Raises:
        ComponentError: the reference is malformed.
    """
    from grpokit.registry.catalog import Entry

    reference = parse(text)
    distribution, version = _owner(reference)
    return Entry(
        id=text,
        kind="reward",
        spec=RewardSpec(
            name=reference.name,
            summary=reading(reference),
            target=reference.target,
            config=f"{_HERE}.settings:{_SETTINGS[reference.scheme]}",
            range=None,
        ),
        plugin=PluginRecord(
            name=reference.scheme,
            distribution=distribution,
            version=version,
            module=str(reference.file or reference.module),
            state="loaded",
        ),
    )


def check(reference: Reference) -> None:
    """What can be known without importing it.

    Raises:
        ComponentError: the file or module is not there, or is not of the form that its scheme says.
    """
    if reference.scheme == "reasoning_gym":
        if source_file("reasoning_gym") is None:
            raise ComponentError(
                f"{reference.text} needs Reasoning Gym, which is not installed",
                remedy="pip install reasoning-gym",
            )
        return
    if reference.file is not None and not reference.file.is_file():
        raise ComponentError(
            f"{reference.text}: there is no file {reference.file}",
            remedy="write its path, relative to the folder that you start from",
        )
    file = the_file(reference)
    if file is None:
        raise ComponentError(
            f"{reference.text}: no Python source of the module {reference.module} is installed",
            remedy="install it, or name its file: "
            f"{reference.scheme}:path/to/file.py:{reference.attribute or 'FUNCTION'}",
        )
    refuse_undefined(reference.text, file, reference.attribute)
    wrong = misread(reference)
    if wrong:
        raise ComponentError(f"{reference.text}: {wrong}")
    if reference.scheme == "verifiers" and source_file("verifiers.v1") is None:
        raise ComponentError(
            f"{reference.text} needs verifiers 0.2 or newer, which is not installed",
            remedy="pip install verifiers",
        )


def what_is_imported(reference: Reference) -> str:
    """What agreeing to it would run."""
    if reference.file is not None:
        return f"the file {reference.file}"
    file = the_file(reference)
    return f"the module {the_module(reference)}" + (f" ({file})" if file is not None else "")


def refusal(reference: Reference) -> ComponentError:
    """Nobody agreed to import this."""
    return ComponentError(
        f"{reference.text} would import {what_is_imported(reference)}, "
        f"which no plugin registers; {reading(reference)}",
        remedy=f"look at it; if you trust it, add {FLAG}",
    )


def source_digest(target: str) -> bytes | None:
    """What identifies the code of a reference: its file and the one that its function is taken over
    from, or all files of a taskset's package.
    """
    reference = parse(target)
    file = the_file(reference)
    if file is None:
        return None
    if reference.attribute or file.name != "__init__.py":
        seen = look(reference)
        further = seen.file.read_bytes() if seen is not None and seen.file != file else b""
        return file.read_bytes() + further
    digest = hashlib.sha256()
    for path in sorted(file.parent.rglob("*.py")):
        digest.update(str(path.relative_to(file.parent)).encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _owner(reference: Reference) -> tuple[str, str]:
    """Distribution and version of what is imported, or words for code that belongs to none."""
    if reference.file is not None:
        return "file", _short(reference.file)
    module = the_module(reference) or reference.scheme
    found = _distribution(module.partition(".")[0])
    return found or ("module", module)


@lru_cache
def _distribution(package: str) -> tuple[str, str] | None:
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(package, ())
    return (names[0], version(names[0])) if names else None


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

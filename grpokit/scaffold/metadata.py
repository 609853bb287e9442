"""What a plugin's distribution says about itself, where PyPI and pip read it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from grpokit.registry.record import GROUP
from grpokit.scaffold.findings import Check, errors, warnings

if TYPE_CHECKING:
    from grpokit.registry.record import PluginRecord

__all__ = ["check_metadata"]


def check_metadata(record: PluginRecord) -> Check:
    """Entry point, Python version, licence, classifiers, summary, README and dependencies."""
    try:
        dist = distribution(record.distribution)
    except PackageNotFoundError:
        return Check("metadata", note="it has no distribution", skipped=True)
    found = (*errors(_wrong(dist)), *warnings(_poor(dist)))
    return Check("metadata", found, note=f"{record.distribution} {record.version}")


def _wrong(dist: Distribution) -> Iterator[str]:
    """What pip or PyPI refuses, or what cannot work."""
    if not [point for point in dist.entry_points if point.group == GROUP]:
        yield f"it has no entry point in the group {GROUP!r}, so grpokit will not find it"
    needed = _text(dist, "requires_python")
    if needed and not _contains(needed):
        yield f"Requires-Python is {needed}; this is Python {sys.version.split()[0]}"
    unknown = _unknown_classifiers(dist.metadata.get_all("Classifier") or [])
    if unknown:
        yield f"PyPI refuses unknown classifiers: {', '.join(unknown)}"


def _poor(dist: Distribution) -> Iterator[str]:
    """What its users will miss."""
    classifiers = dist.metadata.get_all("Classifier") or []
    if not _text(dist, "requires_python"):
        yield 'it does not say which Python it needs (requires-python = ">=3.11")'
    if not (
        _text(dist, "license_expression")
        or _text(dist, "license")
        or any(each.startswith("License ::") for each in classifiers)
    ):
        yield 'it has no licence, so nobody may use it (license = "Apache-2.0", or yours)'
    if not any(each.startswith("Programming Language :: Python") for each in classifiers):
        yield "no classifier names Python (Programming Language :: Python :: 3)"
    if not _text(dist, "summary"):
        yield "it has no description of one line"
    if not _text(dist, "description"):
        yield 'it has no README (readme = "README.md")'
    names = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in dist.requires or []}
    if "grpokit" not in names:
        yield "its dependencies do not name grpokit"


def _text(dist: Distribution, key: str) -> str:
    return str(dist.metadata.json.get(key) or "").strip()


def _contains(needed: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(needed).contains(sys.version.split()[0], prereleases=True)
    except InvalidSpecifier:
        return False


def _unknown_classifiers(given: list[str]) -> list[str]:
    try:
        from trove_classifiers import classifiers
    except ImportError:  # comes with hatchling
        return []
    return [each for each in given if each not in classifiers and not each.startswith("Private ::")]

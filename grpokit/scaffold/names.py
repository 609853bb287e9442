"""The names of a plugin, all derived from the one that its author gives."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grpokit.compose.scalars import resolve
from grpokit.errors import PreflightError
from grpokit.registry.builtin import OUR_PLUGINS, RESERVED
from grpokit.registry.record import plugin_name

__all__ = ["LONGEST", "Names", "read_name"]

LONGEST = 40
"""Letters of a name, so that names made of it stay within every limit."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Names:
    """Of a new package.

    Attributes:
        name: the plugin's and the component's: ``exact-unit``.
    """

    name: str

    @property
    def dist(self) -> str:
        """The distribution, as on PyPI: ``grpokit-exact-unit``."""
        return f"grpokit-{self.name}"

    @property
    def package(self) -> str:
        """The import package: ``grpokit_exact_unit``."""
        return self.dist.replace("-", "_")

    @property
    def words(self) -> str:
        """For sentences: ``exact unit``."""
        return self.name.replace("-", " ")


def read_name(given: str) -> Names:
    """The names that follow from ``exact-unit`` or ``grpokit-exact-unit``.

    Raises:
        PreflightError: the name cannot be that of a distribution, a package and a component.
    """
    name = given.removeprefix("grpokit-")
    fact = ""
    if not _NAME.fullmatch(name):
        fact = "a name has lower-case letters, digits and single hyphens, and begins with a letter"
    elif len(name) > LONGEST:
        fact = f"a name has at most {LONGEST} letters"
    elif name in RESERVED | OUR_PLUGINS:
        fact = "this name is grpokit's own"
    elif not isinstance(resolve(name), str):
        fact = "this name is a value in YAML, not a text"
    if not fact:
        return Names(name)
    near = re.sub(r"[^a-z0-9]+", "-", plugin_name(name)).strip("-0123456789")[:LONGEST].rstrip("-")
    usable = bool(_NAME.fullmatch(near)) and near not in RESERVED and near != name
    remedy = f"take another, such as {near!r}" if usable else "take another, such as 'exact-unit'"
    raise PreflightError(fact, place=f"the name {given!r}", remedy=remedy)

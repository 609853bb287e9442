"""Dotted names of rewards: what other trainers can import.

``math/boxed`` is ``math_boxed``; dashes and dots are underscores too. The short name ``boxed`` means
core's reward, or the one plugin that has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from grpokit.errors import ComponentError
from grpokit.registry.catalog import Catalog, Entry

__all__ = [
    "UnknownRewardError",
    "dotted",
    "find_reward",
    "installed",
    "python_name",
    "python_names",
]


class UnknownRewardError(ComponentError, AttributeError):
    """No installed reward has this dotted name; an AttributeError too, for whoever asks a module."""


@lru_cache(maxsize=1)
def installed() -> Catalog:
    """The installed components; found once a process, as import systems do."""
    return Catalog.load()


def dotted(text: str) -> str:
    """A component's id as one word."""
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def python_name(text: str) -> str:
    """A name that may stand before ``=`` in Python, for any text."""
    from keyword import iskeyword

    word = dotted(text)
    if word[:1].isdigit():
        word = f"_{word}"
    return f"{word}_" if iskeyword(word) else word


def python_names(texts: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Such a name for each text, all different and none of ``taken``."""
    used, found = set(taken), []
    for text in texts:
        name = python_name(text)
        while name in used:
            name += "_"
        used.add(name)
        found.append(name)
    return found


def find_reward(name: str, catalog: Catalog) -> Entry:
    """The reward of a dotted name.

    Raises:
        UnknownRewardError: nothing has it, or several rewards do.
    """
    entries = catalog.entries("reward")
    found = [entry for entry in entries if dotted(entry.id) == name]
    if not found:
        found = [entry for entry in entries if dotted(entry.spec.name) == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownRewardError(
            f"the name {name!r} means several rewards: {', '.join(entry.id for entry in found)}",
            remedy="use one of " + ", ".join(sorted({dotted(entry.id) for entry in found})),
        )
    broken = ", ".join(record.name for record in catalog.plugins if not record.loaded)
    raise UnknownRewardError(
        f"no installed reward is called {name!r}"
        + (f" (plugins that are not loaded: {broken})" if broken else ""),
        remedy="`grpokit plugins list --kind reward` shows them; write - and / as _",
    )

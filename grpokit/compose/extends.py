"""Reading a recipe with all it extends, as one tree whose nodes know their files.

``extends:`` is one name or a list. Each is a name of the library, ``plugin/name``, or a file
relative to the recipe that extends it. Left to right, later ones win; the recipe itself wins last.
"""

from __future__ import annotations

from pathlib import Path

from grpokit.compose.diagnostics import Report, clip
from grpokit.compose.files import read_recipe
from grpokit.compose.library import Found, Library
from grpokit.compose.merge import merge
from grpokit.compose.nodes import Mark, Node

__all__ = ["MAX_CHAIN", "read_with_bases"]

MAX_CHAIN = 8
"""Recipes between the first and the last of a chain of ``extends``."""
MAX_FILES = 32
"""Files read for one recipe."""


def read_with_bases(
    found: Found, library: Library, report: Report, read: list[Found] | None = None
) -> Node | None:
    """The merged tree without ``extends``, or None when nothing could be read.

    ``read`` takes every file that was read, each once, the recipe's own first.
    """
    reader = _Reader(library, report)
    tree = reader.read(found, ())
    if read is not None:
        read += reader.sources.values()
    return tree


class _Reader:
    def __init__(self, library: Library, report: Report) -> None:
        self._library = library
        self._report = report
        self._files = 0
        self.sources: dict[str, Found] = {}

    def read(self, found: Found, chain: tuple[str, ...]) -> Node | None:
        self._files += 1
        own = read_recipe(found.source, found.file, self._report)
        if own is None:
            return None
        self.sources.setdefault(_identity(found), found)
        bases = [
            base
            for name, mark in self._names(own)
            if (base := self._base(name, mark, found, (*chain, _identity(found)))) is not None
        ]
        values = {key: child for key, child in own.value.items() if key != "extends"}
        tree = Node(values, own.mark, keys={key: own.keys[key] for key in values})
        if not bases:
            return tree
        merged = bases[0]
        for base in bases[1:]:
            merged = merge(merged, base)
        return merge(merged, tree)

    def _names(self, own: Node) -> list[tuple[str, Mark]]:
        node = own.value.get("extends")
        if node is None:
            return []
        items = node.value if isinstance(node.value, list) else [node]
        names = [(i.value, i.mark) for i in items if isinstance(i.value, str) and i.value.strip()]
        if len(names) < len(items) or not names:
            self._report.add(
                "X301",
                node.mark,
                "`extends` holds something that is no recipe name",
                allowed="a name, a file, or a list of them",
                remedy="write, for instance, `extends: quickstart` or `extends: ./base.yaml`",
            )
        return names

    def _base(self, name: str, mark: Mark, by: Found, chain: tuple[str, ...]) -> Node | None:
        beside = by.path.parent if by.path is not None else None
        found = self._library.find(name, self._report, mark, beside=beside)
        if found is None:
            return None
        if _identity(found) in chain:
            circle = " -> ".join(Path(part).name for part in (*chain, _identity(found)))
            self._report.add(
                "X303",
                mark,
                f"the recipes extend each other in a circle: {clip(circle, 200)}",
                remedy="remove one `extends`",
            )
            return None
        if len(chain) >= MAX_CHAIN or self._files >= MAX_FILES:
            self._report.add(
                "X304",
                mark,
                f"too many recipes are extended; a chain has at most {MAX_CHAIN}, "
                f"a recipe at most {MAX_FILES} files",
                remedy="write the shared part into one recipe",
            )
            return None
        return self.read(found, chain)


def _identity(found: Found) -> str:
    return str(found.path.resolve()) if found.path is not None else found.file

"""Recipe data with positions: what the YAML reader returns, and what merging works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Mark", "Node", "Path", "at", "dotted", "leaves", "mappings", "mark_of", "to_data"]

Path = tuple[str | int, ...]
"""Where a value stands: keys and list indexes from the top."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file (line and column count from 1), or ``--set key`` with line 0."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. Nodes are shared between aliases and merges; never changed.

    Attributes:
        value: a dict of nodes, a list of nodes, or a scalar.
        mark: where the value begins.
        keys: for a mapping, where each key stands.
        text: for a scalar, the characters as written.
        quoted: for a scalar, whether it was written in quotes or as a block.
        count: number of nodes in this tree, aliases counted in full.
        reset: this null replaced an inherited value (see ``compose.merge``).
        told: a problem of this value was reported already; others would only follow from it.
    """

    value: Any
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    text: str = ""
    quoted: bool = False
    count: int = 1
    reset: bool = False
    told: bool = False


def to_data(node: Node) -> Any:
    """Plain dicts, lists and scalars, without positions."""
    if isinstance(node.value, dict):
        return {key: to_data(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [to_data(child) for child in node.value]
    return node.value


def at(node: Node, path: Path) -> Node | None:
    """The node at ``path``, or None."""
    for step in path:
        value = node.value
        has_key = isinstance(value, dict) and isinstance(step, str) and step in value
        has_item = isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
        if not (has_key or has_item):
            return None
        node = value[step]
    return node


def mark_of(node: Node, path: Path, *, key: bool = False) -> Mark:
    """Where ``path`` stands; for what is missing, the nearest thing above it.

    Args:
        node: the top.
        path: keys and indexes.
        key: the place of the key rather than that of the value.
    """
    here = node.mark
    for index, step in enumerate(path):
        child = at(node, (step,))
        if child is None:
            break
        last = index == len(path) - 1
        # A value that spans lines is easier to find by its key.
        by_key = isinstance(step, str) and ((key and last) or isinstance(child.value, dict | list))
        here = node.keys.get(str(step), child.mark) if by_key else child.mark
        node = child
    return here


def leaves(node: Node, prefix: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every scalar, and every empty mapping or list, with its path."""
    if isinstance(node.value, dict) and node.value:
        for key, child in node.value.items():
            yield from leaves(child, (*prefix, key))
    elif isinstance(node.value, list) and node.value:
        for index, child in enumerate(node.value):
            yield from leaves(child, (*prefix, index))
    else:
        yield prefix, node


def mappings(node: Node, prefix: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every mapping with its path, the top one too."""
    if isinstance(node.value, dict):
        yield prefix, node
        for key, child in node.value.items():
            yield from mappings(child, (*prefix, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from mappings(child, (*prefix, index))


def dotted(path: Path) -> str:
    """``rewards.0.weight``, as ``--set`` writes it."""
    return ".".join(str(step) for step in path)

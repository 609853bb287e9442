"""Settings of one component from the command line, checked as a recipe's and in its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from grpokit.compose.components import settings_of
from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import Mark, Node
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry

__all__ = ["check_settings"]


def check_settings(entry: Entry, settings: Mapping[str, Any]) -> None:
    """Whether the component takes what ``--with`` gave, or a recipe before it.

    Raises:
        RecipeError: it does not, with every problem.
    """
    nodes = {key: _node(value, Mark(f"--with {key}")) for key, value in settings.items()}
    given = Node(nodes, Mark("--with"), keys={key: node.mark for key, node in nodes.items()})
    report = Report()
    settings_of(Node({"with": given}, given.mark), entry, (), given.mark, report)
    if report.errors:
        raise RecipeError(
            f"wrong settings of {entry.id}",
            place="--with",
            remedy=f"`grpokit plugins show {entry.id}` lists them",
            problems=tuple(map(str, report.errors)),
        )


def _node(value: Any, mark: Mark) -> Node:
    if isinstance(value, Mapping):
        children = {key: _node(child, mark) for key, child in value.items()}
        return Node(children, mark, keys=dict.fromkeys(children, mark))
    if isinstance(value, list | tuple):
        return Node([_node(child, mark) for child in value], mark)
    return Node(value, mark, text=str(value), quoted=isinstance(value, str))

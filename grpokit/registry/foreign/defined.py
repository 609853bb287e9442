"""Whether a file defines a name, read from its source. Nothing is imported."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator
from pathlib import Path

from grpokit.errors import ComponentError

__all__ = ["UNREADABLE", "parsed", "refuse_undefined"]

UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)
"""What reading the syntax of a hostile file may raise."""

SHOWN = 8
_MAKERS = frozenset({"exec", "globals", "locals", "setattr", "vars"})
"""What may define names that the source does not show."""
_Def = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def refuse_undefined(text: str, file: Path, name: str) -> None:
    """Refuses a reference whose file is no Python, or certainly has no such name.

    Raises:
        ComponentError: with the line, or with the names that it could be.
    """
    try:
        tree = parsed(file)
    except SyntaxError as error:
        raise ComponentError(
            f"{text}: {file}:{error.lineno or 1} is no Python: {error.msg}", remedy="correct it"
        ) from error
    except UNREADABLE as error:
        raise ComponentError(
            f"{text}: {file} cannot be read: {error}", remedy="choose another file"
        ) from error
    if not name or name in set(_defined(tree)) or _may_define_more(tree):
        return
    functions = [
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name[:1] != "_"
    ]
    near = difflib.get_close_matches(name, functions, n=1)
    listed = ", ".join(functions[:SHOWN]) + (", ..." if len(functions) > SHOWN else "")
    raise ComponentError(
        f"{text}: {file} has no {name!r}",
        remedy=f"did you mean {near[0]!r}?"
        if near
        else (f"its functions are {listed}" if listed else "name a function of it"),
    )


def parsed(file: Path) -> ast.Module:
    """The syntax of a file, without the warnings that its text gives rise to.

    Raises:
        SyntaxError: it is no Python; or another one of :data:`UNREADABLE`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(file.read_bytes())


def _defined(tree: ast.Module) -> Iterator[str]:
    """Names that are bound anywhere in the file: more than the module has, never fewer."""
    for node in ast.walk(tree):
        if isinstance(node, _Def):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name


def _may_define_more(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.name == "*":
            return True
        if isinstance(node, ast.Name) and node.id in _MAKERS:
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("modules", "__dict__"):
            return True
    return any(isinstance(each, _Def) and each.name == "__getattr__" for each in tree.body)

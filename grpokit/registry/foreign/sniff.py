"""A function's parameters, read from its source text. Nothing is imported.

Names that a module takes over from another one are followed. What is made at import (a class
instance, a decorated factory's result) shows its parameters only once it is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grpokit.registry.foreign.defined import UNREADABLE, parsed
from grpokit.registry.foreign.reference import TITLES, Reference
from grpokit.registry.source import find_module

__all__ = [
    "Seen",
    "look",
    "misread",
    "reading",
    "source_file",
    "the_file",
    "the_module",
    "will_see_messages",
]

DEPTH = 5
"""Modules through which a name is followed."""
MARKS = {
    "trl": frozenset({"completions"}),
    "verl": frozenset({"solution_str"}),
    "verifiers": frozenset({"trace"}),
    "OpenRLHF": frozenset({"queries"}),
}
"""The parameter that tells whose function it is."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A function as its source states it.

    Attributes:
        parameters: as written, ``completions, answer, **kwargs``.
        names: of the parameters, without ``*args`` and ``**kwargs``.
        everything: it takes ``**kwargs``.
        reads_messages: its code, or a function of its file that it calls, looks for ``"content"``.
        file: where it stands; another module may only take it over.
    """

    parameters: str
    names: tuple[str, ...]
    everything: bool
    reads_messages: bool
    file: Path


def source_file(module: str) -> Path | None:
    """The source of a module, without importing it or its parents; None without one."""
    spec = find_module(module)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path if path.suffix == ".py" else None


def the_file(reference: Reference) -> Path | None:
    """The file that a reference names or whose module it names."""
    if reference.file is not None:
        return reference.file if reference.file.is_file() else None
    return source_file(the_module(reference)) if reference.module else None


def the_module(reference: Reference) -> str:
    """What will be imported: verifiers looks for a taskset among its own first."""
    if reference.scheme != "verifiers" or reference.attribute:
        return reference.module
    name = reference.module.lower()
    own = f"verifiers.v1.tasksets.{name}"
    return name if source_file(own) is None else own


def look(reference: Reference) -> Seen | None:
    """The parameters of the function, or None where the source does not say."""
    file = the_file(reference)
    return None if file is None else _look(file, reference.module, reference.attribute, DEPTH)


def reading(reference: Reference) -> str:
    """One line for people: how the function will be called."""
    title = TITLES[reference.scheme]
    if reference.scheme == "reasoning_gym":
        return f"read as {title}: score_answer(answer, entry) of the task {reference.attribute}"
    if not reference.attribute:
        return f"read as {title}: the rewards of the taskset {reference.module}, added up"
    seen = look(reference)
    inside = "its parameters show once it is imported" if seen is None else seen.parameters
    returns = {
        "trl": "list",
        "verl": "score or {score, ...}",
        "verifiers": "score or {name: score}",
    }
    line = f"read as {title}: {reference.attribute}({inside}) -> {returns[reference.scheme]}"
    if reference.scheme != "trl":
        return line
    return f"{line}, completions as {'messages' if will_see_messages(reference) else 'text'}"


def will_see_messages(reference: Reference) -> bool:
    """Whether a function of TRL expects lists of messages: its code looks for their ``content``."""
    seen = look(reference)
    return seen is not None and seen.reads_messages


def misread(reference: Reference) -> str:
    """What contradicts the scheme; empty if nothing does."""
    seen = look(reference) if reference.attribute else None
    if seen is None or MARKS.get(reference.scheme, frozenset()) <= set(seen.names):
        return ""
    theirs = [owner for owner, mark in MARKS.items() if mark <= set(seen.names)]
    wanted = " and ".join(f"`{name}`" for name in sorted(MARKS[reference.scheme]))
    if not theirs:
        return "" if seen.everything else f"it has no parameter {wanted}: ({seen.parameters})"
    told = f"it has no parameter {wanted} but those of {TITLES.get(theirs[0], theirs[0])}"
    hint = f"; write {theirs[0]}: before its name" if theirs[0] in TITLES else ""
    return f"{told}: ({seen.parameters}){hint}"


def _look(file: Path, module: str, name: str, depth: int) -> Seen | None:
    try:
        tree = parsed(file)
    except UNREADABLE:
        return None
    functions = {each.name: each for each in _statements(tree) if isinstance(each, Function)}
    if name in functions:
        return _seen(functions[name], functions, file)
    for each in _statements(tree) if depth else ():
        if isinstance(each, ast.ImportFrom):
            for alias in each.names:
                if (alias.asname or alias.name) == name:
                    return _follow(file, module, each, alias.name, depth - 1)
    return None


def _follow(file: Path, module: str, node: ast.ImportFrom, name: str, depth: int) -> Seen | None:
    where = node.module or ""
    if node.level:
        if not module:
            return None  # a file by path has no package
        is_package = file.name == "__init__.py"
        parts = module.split(".")
        kept = parts[: len(parts) - node.level + is_package]
        where = ".".join([*kept, *([where] if where else [])])
    found = source_file(where) if where else None
    return None if found is None else _look(found, where, name, depth)


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements of the module's own level, those under ``if`` and ``try`` too."""
    waiting: list[ast.stmt] = list(reversed(tree.body))
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, ast.If | ast.Try | ast.With):
            inner = [part for part in ast.iter_child_nodes(each) if isinstance(part, ast.stmt)]
            waiting.extend(reversed(inner))


def _seen(node: Function, functions: dict[str, Function], file: Path) -> Seen:
    given = node.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return Seen(
        parameters=ast.unparse(given),
        names=tuple(names),
        everything=given.kwarg is not None,
        reads_messages=_reads_messages(node, functions),
        file=file,
    )


def _reads_messages(node: Function, functions: dict[str, Function]) -> bool:
    waiting, known = [node], {node.name}
    while waiting:
        for each in ast.walk(waiting.pop()):
            if isinstance(each, ast.Constant) and each.value == "content":
                return True
            if isinstance(each, ast.Name) and each.id in functions and each.id not in known:
                known.add(each.id)
                waiting.append(functions[each.id])
    return False

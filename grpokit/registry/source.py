"""The files behind a module, found without importing the module or its parents."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["declared_hook_api", "find_module", "read_source", "read_sources"]

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import\b[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))",
    re.MULTILINE,
)
_NAME = re.compile(r"[^\W\d][\w.]*")
_COMMENT = re.compile(r"#[^\n]*")
_HOME = re.compile(r'^ *"(\w+)": "(grpokit\.answers[\w.]*):\w+",$', re.MULTILINE)
_CORE = ("grpokit.answers", "grpokit.builtins")
"""What rewards and data are made of. The rest of the core is the same for all of them."""
_DECLARATION = re.compile(r"^GRPOKIT_HOOK_API\s*(?::[^=\n]+)?=\s*(\d+)", re.MULTILINE)


def find_module(name: str) -> ModuleSpec | None:
    """Asks the import system's finders part by part, so that no parent package is executed."""
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        full = ".".join(parts[:depth])
        spec = _ask_finders(full, path)
        if spec is None:
            return None
        locations = spec.submodule_search_locations
        path = list(locations) if locations is not None else None
        if path is None and depth < len(parts):
            return None
    return spec


def _ask_finders(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(name, path, None) if find is not None else None
        if spec is not None:
            return spec if isinstance(spec, ModuleSpec) else None
    return None


def read_source(name: str) -> bytes | None:
    """The bytes of the module's file (source or extension module), or None without one."""
    spec = find_module(name)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    read = getattr(spec.loader, "get_data", None)
    try:
        data = read(spec.origin) if read is not None else Path(spec.origin).read_bytes()
    except OSError:
        return None
    return bytes(data)


def read_sources(name: str) -> dict[str, bytes]:
    """The module, and what it imports of its own package, directly or not: name -> bytes of the file.

    Packages named ``grpokit_*`` count as its own, and so do core's readers of answers. Read off the import
    statements; a module that is imported by a computed name is not seen.
    """
    found: dict[str, bytes] = {}
    todo = [name]
    while todo:
        module = todo.pop()
        if module in found:
            continue
        source = read_source(module)
        if source is None:
            continue
        found[module] = source
        todo += (near for near in _imported(module, source) if _belongs(near, name))
    return found


def _imported(module: str, source: bytes) -> Iterator[str]:
    """Every name that may be a module: of ``from a import b`` both ``a`` and ``a.b``."""
    for match in _IMPORT.finditer(source.decode("utf-8", "replace")):
        base, names, plain = match[1], match[2], match[3]
        if base is None:
            yield from _NAME.findall(_COMMENT.sub("", plain))
            continue
        named = _NAME.findall(_COMMENT.sub("", names))
        if base == "grpokit.api":
            homes = dict(_HOME.findall((read_source(base) or b"").decode()))
            yield from (homes[each] for each in named if each in homes)
            continue
        if base.startswith("."):
            base = _absolute(module, base)
        yield base
        yield from (f"{base}.{each}" for each in named)


def _absolute(module: str, base: str) -> str:
    spec = find_module(module)
    package = spec is not None and spec.submodule_search_locations is not None
    rest = base.lstrip(".")
    up = len(base) - len(rest) - (1 if package else 0)
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - up], *([rest] if rest else [])])


def _belongs(module: str, owner: str) -> bool:
    top = module.partition(".")[0]
    if top == "grpokit":
        return any(module == core or module.startswith(f"{core}.") for core in _CORE)
    return top == owner.partition(".")[0] or top.startswith("grpokit_")


def declared_hook_api(name: str) -> int | None:
    """``GRPOKIT_HOOK_API`` as the source states it, for a module that cannot be imported."""
    source = read_source(name)
    found = _DECLARATION.search(source.decode("utf-8", "replace")) if source else None
    return int(found[1]) if found else None

"""The file behind a module, found without importing the module or its parents."""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

__all__ = ["declared_hook_api", "find_module", "read_source"]

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


def declared_hook_api(name: str) -> int | None:
    """``GRPOKIT_HOOK_API`` as the source states it, for a module that cannot be imported."""
    source = read_source(name)
    found = _DECLARATION.search(source.decode("utf-8", "replace")) if source else None
    return int(found[1]) if found else None

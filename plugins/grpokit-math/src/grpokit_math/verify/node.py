"""The type of a tree: a tuple whose first entry is its kind. See ``grammar`` for the kinds."""

from __future__ import annotations

from typing import Any

__all__ = ["Node"]

Node = tuple[Any, ...]

"""What differs between two recipes, defaults included: the values, not the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from grpokit.compose.load import Loaded, resolved

__all__ = ["MISSING", "Difference", "diff_recipes", "leaves"]

MISSING = "(none)"
"""Stands for a value that one of the two does not have."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key with two values, and where each was written."""

    key: str
    left: Any
    right: Any
    left_origin: str
    right_origin: str


def diff_recipes(left: Loaded, right: Loaded) -> tuple[Difference, ...]:
    """Every value that is not the same, in the order of the reference."""
    ours, theirs = dict(leaves(resolved(left))), dict(leaves(resolved(right)))
    keys = list(dict.fromkeys((*ours, *theirs)))
    order = {name: index for index, name in enumerate(type(left.recipe).model_fields)}
    keys.sort(key=lambda key: order.get(key.partition(".")[0], len(order)))
    return tuple(
        Difference(
            key=key,
            left=ours.get(key, MISSING),
            right=theirs.get(key, MISSING),
            left_origin=left.provenance.get(key, ""),
            right_origin=right.provenance.get(key, ""),
        )
        for key in keys
        if key not in ours or key not in theirs or ours[key] != theirs[key]
    )


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value under its dotted key; places in a list are numbers."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{prefix}.{index}")
    elif value not in ({}, []):  # an empty collection is the same as none
        yield prefix, value

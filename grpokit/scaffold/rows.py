"""What every data set promises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grpokit.registry.catalog import Entry

__all__ = ["dataset_problems"]

FIRST = 20
"""Rows from the beginning that are read."""


def dataset_problems(entry: Entry, settings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the data set under each of the settings, and between them."""
    from grpokit.registry.resolve import create

    prints: dict[str, int] = {}
    for number, given in enumerate(settings):
        where = f"settings {number}: " if len(settings) > 1 else ""
        data, again = create(entry, given), create(entry, given)
        lacks = [
            name
            for name in ("size", "columns", "fingerprint", "__getitem__")
            if not hasattr(data, name)
        ]
        if lacks:
            yield f"{where}it has no {' and no '.join(lacks)}"
            continue
        yield from (where + text for text in _problems(data, again))
        other = prints.setdefault(data.fingerprint, number)
        if other != number and settings[other] != given:
            yield f"{where}the fingerprint is that of settings {other}, and the settings are others"


def _problems(data: Any, again: Any) -> Iterator[str]:
    if data.fingerprint != again.fingerprint:
        yield "the fingerprint is another one each time it is opened; a run could not be resumed"
    if data.size is not None and (not isinstance(data.size, int) or data.size < 1):
        yield f"size is {data.size!r}; it must be a number of rows, or None without an end"
        return
    indices = list(range(FIRST if data.size is None else min(FIRST, data.size)))
    if data.size is not None and data.size > FIRST:
        indices.append(data.size - 1)
    for index in indices:
        yield from (f"row {index}: {text}" for text in _row(data, again, index))


def _row(data: Any, again: Any, index: int) -> Iterator[str]:
    row = data[index]
    if not isinstance(row, Mapping):
        yield f"it is a {type(row).__name__}; it must be a mapping of columns"
        return
    missing = [name for name in data.columns if name not in row]
    if missing:
        yield f"it has no {', '.join(missing)}; columns names {', '.join(data.columns)}"
    try:
        text = json.dumps(dict(row), sort_keys=True)
    except (TypeError, ValueError) as error:
        yield f"it is not JSON, so no record can keep it: {error}"
        return
    for other in (data, again):
        if json.dumps(dict(other[index]), sort_keys=True) != text:
            yield "it is another one when it is read again; it must depend on its position alone"
            return

"""Data set rows as flat columns and back.

Other trainers keep rows in Arrow tables: a column has one type, a missing key becomes None, and some
names are theirs. What would not come back as it was is packed as JSON text into one column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from grpokit.errors import PreflightError

__all__ = ["ANSWERS", "MESSAGES", "PACKED", "pack", "unpack", "with_answer"]

PACKED = "grpokit_row"
"""The column of the packed rest."""
MESSAGES = "grpokit_messages"
"""The column of the messages, as JSON, where a trainer does not hand them to rewards."""
ANSWERS = ("answer", "solution", "ground_truth", "target")
"""Names of the gold answer elsewhere, ours first."""
_PLAIN = (str, bool, int, float)
_LARGEST = 2**63


def pack(rows: Sequence[Mapping[str, Any]], taken: Iterable[str]) -> list[dict[str, Any]]:
    """Flat rows with equal keys and one type a column; ``taken`` are the target's own names.

    Raises:
        PreflightError: a value cannot be written as JSON.
    """
    blocked = {*taken, PACKED, MESSAGES}
    names = dict.fromkeys(name for row in rows for name in row)
    plain = [name for name in names if name not in blocked and _uniform(rows, name)]
    packed = []
    for index, row in enumerate(rows):
        rest = {name: value for name, value in row.items() if name not in plain}
        flat = {name: row[name] for name in plain}
        packed.append({**flat, PACKED: _json(rest, index)})
    return packed


def unpack(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The row that :func:`pack` was given; other columns stay as they are."""
    row = {name: value for name, value in columns.items() if name not in (PACKED, MESSAGES)}
    text = columns.get(PACKED)
    return {**row, **json.loads(text)} if isinstance(text, str) else row


def with_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with ``answer`` from the name that it has elsewhere."""
    found = next((name for name in ANSWERS if row.get(name) is not None), None)
    return dict(row) if found is None else {**row, "answer": row[found]}


def _uniform(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    kinds = {type(row[name]) if name in row else None for row in rows}
    if len(kinds) != 1 or not kinds <= {*_PLAIN}:
        return False
    return all(abs(row[name]) < _LARGEST for row in rows) if kinds == {int} else True


def _json(rest: Mapping[str, Any], index: int) -> str:
    try:
        text = json.dumps(rest, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise PreflightError(
            f"a value cannot be written as JSON ({error}); its columns: {', '.join(rest)}",
            place=f"data set row {index}",
            remedy="choose a data set whose rows are plain text, numbers and lists of them",
        ) from error
    if json.loads(text) != dict(rest):
        raise PreflightError(
            f"a value does not come back from JSON as it was; its columns: {', '.join(rest)}",
            place=f"data set row {index}",
            remedy="use text as keys, and lists in place of tuples",
        )
    return text

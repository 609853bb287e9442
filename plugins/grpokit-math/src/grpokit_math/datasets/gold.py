r"""The final answer of an official row.

GSM8K has it after ``####``, MATH in the last ``\boxed{}`` of the solution, the others in a column. A
number is written in one way: without commas, without leading zeros, whole if it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpokit.api import last_boxed, last_hash, parse_number
from grpokit_math.extract import as_text

__all__ = ["GoldError", "boxed_gold", "contest_gold", "hash_gold", "text_of"]

Raw = Mapping[str, Any]


class GoldError(ValueError):
    """A row has no usable question or answer; the message says why."""


def text_of(row: Raw, *names: str) -> str:
    """The first of these columns that the row has, as text that is not blank."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
    found = ", ".join(sorted(map(str, row))) or "nothing"
    raise GoldError(f"it has no text in {' or '.join(map(repr, names))}; it has {found}")


def hash_gold(row: Raw) -> tuple[str, str]:
    """(answer, solution) of a row of GSM8K."""
    solution = text_of(row, "answer")
    found = last_hash(solution)
    if found is None:
        raise GoldError("its answer has no `#### number` at the end")
    value = parse_number(found)
    if value is None:
        raise GoldError(f"what follows #### is no number: {found[:60]!r}")
    return as_text(value), solution


def boxed_gold(row: Raw) -> tuple[str, str]:
    r"""(answer, solution) of a row of MATH; where a column ``answer`` exists, both must agree."""
    solution = text_of(row, "solution")
    found = last_boxed(solution)
    if found is None:
        raise GoldError("its solution has no complete \\boxed{}")
    stated = row.get("answer")
    if stated is not None and str(stated).strip() != found:
        raise GoldError(
            f"its answer {str(stated)[:60]!r} is not what the solution boxes: {found[:60]!r}"
        )
    return found, solution


def contest_gold(row: Raw, *, highest: int | None = None) -> tuple[str, str | None]:
    """(answer, solution if there is one) of AIME and AMC; an AIME answer is a whole number."""
    stated = row.get("answer")
    value = None if stated is None else parse_number(str(stated))
    if value is None:
        raise GoldError(f"its answer is no number: {str(stated)[:60]!r}")
    if highest is not None and not (value.denominator == 1 and 0 <= value <= highest):
        raise GoldError(f"its answer is no integer from 0 to {highest}: {str(stated)[:60]!r}")
    solution = row.get("solution")
    return as_text(value), solution if isinstance(solution, str) else None

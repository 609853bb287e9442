"""One line of what ``recipes verify`` says, and its numbers in words.

``same`` was compared, ``recomputed`` was computed again from the receipt's raw data, ``noted`` is
otherwise here and decides nothing by itself (a version, the hardware), ``differs`` contradicts the
receipt, ``not checked`` says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Fact", "State", "duration", "holds", "points"]

State = Literal["same", "recomputed", "noted", "differs", "not checked"]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of the table."""

    name: str
    state: State
    text: str
    remedy: str = ""


def holds(facts: Sequence[Fact]) -> bool:
    """Nothing contradicts the receipt."""
    return all(fact.state != "differs" for fact in facts)


def points(value: float) -> str:
    """``+64.8``: percentage points with a sign."""
    return f"{100 * value:+.1f}"


def duration(seconds: float) -> str:
    """``11 min``, ``3.2 h``, ``40 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Which totals of a group are equal. Whether all are, and the group teaches nothing, is asked in several places."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Totals", "classes"]

Totals = Sequence[float | None]
"""The totals of one question's completions; None where every reward abstained."""

ROUNDING = 1e-12
"""Totals that differ by less, at their size, are equal: as in ``group_centred``."""


def classes(totals: Totals) -> tuple[list[int], int]:
    """How often each different total came, the lowest first; and completions without a total."""
    known = sorted(value for value in totals if value is not None)
    counts: list[int] = []
    low = 0.0
    for value in known:
        if counts and value - low <= ROUNDING * max(1.0, abs(value), abs(low)):
            counts[-1] += 1
        else:
            counts.append(1)
            low = value
    return counts, len(totals) - len(known)

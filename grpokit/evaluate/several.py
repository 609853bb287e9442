"""Several tests at once: p values that say so."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p values (1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than one before it, or
    greater than 1. Refusing what is at most 0.05 then refuses any true hypothesis with probability 0.05 at
    most, whatever the tests have to do with each other. One value stays as it is.
    """
    adjusted = [0.0] * len(values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = largest
    return tuple(adjusted)

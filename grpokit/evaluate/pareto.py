"""Which models nobody beats in both cost and accuracy."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["frontier"]


def frontier(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, accuracy): no other costs at most as much and is right at least as often, one of them truly.

    Equal points stand or fall together.
    """
    best: dict[int, bool] = {}
    cheaper = float("-inf")  # highest accuracy of all that cost less
    order = sorted(range(len(points)), key=lambda each: (points[each][0], -points[each][1]))
    at = 0
    while at < len(order):
        cost, highest = points[order[at]]
        while at < len(order) and points[order[at]][0] == cost:
            accuracy = points[order[at]][1]
            best[order[at]] = accuracy == highest and accuracy > cheaper
            at += 1
        cheaper = max(cheaper, highest)
    return [best[each] for each in range(len(points))]

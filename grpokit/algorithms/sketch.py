"""Quantiles of a stream in little memory: a merging t-digest (Dunning and Ertl, arXiv 1902.04023).

Exact as long as there are few values; later the error is smallest at the ends. Deterministic: the same
values in the same order give the same digest, and its state is JSON that comes back bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Digest"]


class Digest:
    """A sorted list of centroids (mean, weight), of which there are at most about ``size``.

    Up to ``exact`` values every value is a centroid of its own.
    """

    def __init__(self, size: int = 300, exact: int = 1000) -> None:
        self.size = size
        self.exact = exact
        self.centroids: list[tuple[float, float]] = []

    @property
    def count(self) -> int:
        """Values seen."""
        return round(sum(weight for _, weight in self.centroids))

    def add(self, values: Iterable[float]) -> None:
        """Takes note of values; more than ``exact`` centroids are merged."""
        self.centroids = sorted([*self.centroids, *((float(value), 1.0) for value in values)])
        if len(self.centroids) > self.exact:
            self.centroids = merged(self.centroids, self.size)

    def quantile(self, share: float) -> float:
        """The value below which ``share`` of the values lie, linear between centroids.

        With single values it is numpy's default quantile. Raises ValueError if there are no values.
        """
        if not self.centroids:
            raise ValueError("no value was seen, so there is no quantile")
        total = sum(weight for _, weight in self.centroids)
        target = share * (total - 1)
        before, last_mean, last_place = 0.0, self.centroids[0][0], 0.0
        for mean, weight in self.centroids:
            place = before + (weight - 1) / 2  # the centroid stands at the middle of its values
            if place >= target:
                if place == last_place:
                    return mean
                part = max(target - last_place, 0.0) / (place - last_place)
                return last_mean + part * (mean - last_mean)
            before, last_mean, last_place = before + weight, mean, place
        return last_mean

    def state(self) -> dict[str, Any]:
        """What ``load_state`` takes."""
        return {"centroids": [list(centroid) for centroid in self.centroids]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.centroids = [(float(mean), float(weight)) for mean, weight in state["centroids"]]


def merged(centroids: list[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    """Neighbours put together as long as they span at most 1 on the scale ``size / (2 pi) asin(2q - 1)``."""
    total = sum(weight for _, weight in centroids)
    found = [centroids[0]]
    start = 0.0
    for mean, weight in centroids[1:]:
        last_mean, last_weight = found[-1]
        together = last_weight + weight
        if _scale((start + together) / total, size) - _scale(start / total, size) <= 1:
            found[-1] = (last_mean + (mean - last_mean) * weight / together, together)
        else:
            start += last_weight
            found.append((mean, weight))
    return found


def _scale(share: float, size: int) -> float:
    return size / (2 * math.pi) * math.asin(min(max(2 * share - 1, -1.0), 1.0))

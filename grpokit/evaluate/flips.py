"""The sign-flip test: could the two models have been each other?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

__all__ = ["sign_flip"]

EXACT = 2_000_000
"""Additions up to which every way to flip the signs is counted."""
DRAWS = 20_000
SEED = 20250411


def sign_flip(gaps: Sequence[int]) -> float:
    """Two-sided p of "the models do not differ", by flipping the sign of each question's difference.

    Under that hypothesis each difference could as well have come out with the other sign: p is the share of
    all 2^n ways to choose signs whose sum is as far from 0 as the one seen. Exact as long as that can be counted,
    else from 20,000 draws of one fixed seed, (1 + as far) / (1 + draws), which cannot be 0. With differences of
    -1, 0 and 1 this is McNemar's exact test. 1.0 without differences.

    Args:
        gaps: correct answers of the second model less those of the first, by question or cluster.
    """
    sizes = Counter(abs(gap) for gap in gaps if gap)
    seen = abs(sum(gaps))
    if not sizes:
        return 1.0
    reach = sum(size * count for size, count in sizes.items())
    if reach * sum(sizes.values()) <= EXACT:
        return _counted(sizes, seen)
    return _drawn(sizes, seen, reach)


def _counted(sizes: Counter[int], seen: int) -> float:
    chances = {0: 1.0}
    for size, count in sizes.items():
        for _ in range(count):
            after: dict[int, float] = {}
            for total, chance in chances.items():
                for moved in (total - size, total + size):
                    after[moved] = after.get(moved, 0.0) + chance / 2
            chances = after
    return min(1.0, sum(chance for total, chance in chances.items() if abs(total) >= seen))


def _drawn(sizes: Counter[int], seen: int, reach: int) -> float:
    source = random.Random(SEED)  # noqa: S311  (no secret)
    far = 0
    for _ in range(DRAWS):
        up = sum(size * source.getrandbits(n).bit_count() for size, n in sizes.items())
        far += abs(2 * up - reach) >= seen
    return (1 + far) / (1 + DRAWS)

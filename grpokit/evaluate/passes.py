"""Several answers to one question: pass@k."""

from __future__ import annotations

import math

__all__ = ["pass_at_k"]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that k of n answers, drawn without replacement, hold a correct one.

    1 - C(n - c, k) / C(n, k), the unbiased estimate of Chen et al. (2107.03374); 1 - (1 - c/n)^k
    is not. Computed as 1 - prod_{i = n-c+1..n} (1 - k/i), which does not overflow.

    Raises:
        ValueError: k > n, which no number of answers can tell, or k < 1, or c outside 0..n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {max(k, 1)} answers, and there are {n}")
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n}")
    if n - correct < k:
        return 1.0
    return 1.0 - math.prod(1 - k / i for i in range(n - correct + 1, n + 1))

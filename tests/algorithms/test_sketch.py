"""Quantiles of a stream against numpy's, its bounds, and its state."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from grpokit.algorithms.sketch import Digest

SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def values(kind: str, count: int) -> list[float]:
    lot = random.Random(count)
    draw = {
        "uniform": lot.random,
        "normal": lambda: lot.gauss(0, 1),
        "skewed": lambda: lot.expovariate(1) ** 3,
        "rewards": lambda: lot.randrange(9) / 8,
    }[kind]
    return [draw() for _ in range(count)]


@pytest.mark.parametrize("kind", ["uniform", "normal", "skewed", "rewards"])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 999, 1000])
def test_few_values_are_exact(kind, count):
    digest, seen = Digest(), values(kind, count)
    digest.add(seen)
    assert digest.count == count
    for share in SHARES:
        assert digest.quantile(share) == pytest.approx(np.quantile(seen, share), abs=1e-12)


@pytest.mark.parametrize("kind", ["uniform", "normal", "skewed", "rewards"])
@pytest.mark.parametrize("size", [1, 16, 700])
def test_many_values_are_close_in_rank(kind, size):
    """Steps of ``size`` groups; a hundredth of the values, and far less at the ends."""
    digest, seen = Digest(), values(kind, 20_000)
    for start in range(0, len(seen), size):
        digest.add(seen[start : start + size])
    assert len(digest.centroids) <= 1000
    assert digest.count == 20_000
    ranked = np.sort(seen)
    for share in SHARES:
        found = digest.quantile(share)
        low = np.searchsorted(ranked, found - 1e-9)
        high = np.searchsorted(ranked, found + 1e-9, side="right")
        off = max(low / len(seen) - share, share - high / len(seen), 0.0)
        assert off <= (0.001 if share in (0.0, 0.01, 0.99, 1.0) else 0.01), (share, found)


def test_a_large_digest_is_small():
    digest = Digest(size=50, exact=200)
    for value in values("normal", 5000):
        digest.add([value])
    assert len(digest.centroids) <= 201
    assert len(json.dumps(digest.state())) < 12_000


def test_state_comes_back_bit_by_bit():
    one, other = Digest(exact=100), Digest(exact=100)
    seen = values("skewed", 1000)
    one.add(seen[:500])
    other.load_state(json.loads(json.dumps(one.state())))
    for digest in (one, other):
        for start in range(500, 1000, 7):
            digest.add(seen[start : start + 7])
    assert one.centroids == other.centroids


def test_no_value_has_no_quantile():
    with pytest.raises(ValueError, match="no value was seen"):
        Digest().quantile(0.5)


def test_centroids_are_in_order_and_keep_the_mean():
    digest, seen = Digest(exact=100), values("normal", 3000)
    for value in seen:
        digest.add([value])
    means = [mean for mean, _ in digest.centroids]
    assert means == sorted(means)
    total = sum(mean * weight for mean, weight in digest.centroids)
    assert total / 3000 == pytest.approx(math.fsum(seen) / 3000, abs=1e-9)

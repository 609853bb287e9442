"""Which models nobody beats in cost and accuracy: against the definition itself."""

import random

import pytest

from grpokit.evaluate.pareto import frontier


def brute(points):
    """Not beaten: nobody is at least as good in both and better in one."""
    return [
        not any(c <= cost and a >= accuracy and (c < cost or a > accuracy) for c, a in points)
        for cost, accuracy in points
    ]


@pytest.mark.parametrize("seed", range(200))
def test_it_is_the_definition(seed):
    draw = random.Random(seed)
    levels = draw.choice([2, 5, 1000])  # ties, and none
    points = [
        (draw.randrange(levels) / 7, draw.randrange(levels) / levels)
        for _ in range(draw.randrange(12))
    ]
    assert frontier(points) == brute(points)


def test_equal_points_stand_together():
    assert frontier([(1.0, 0.5), (1.0, 0.5), (2.0, 0.5), (0.5, 0.1)]) == [True, True, False, True]
    assert frontier([]) == []

"""The interval of the share of dead groups holds what a run shows, about as often as it says."""

import random

import pytest

from grpokit.forecast.dead import dead_share
from grpokit.forecast.predict import Horizon, learning_rates, predict
from grpokit.spec.recipe import OptimSection

WORLDS = {
    "even": [(1.0, 1, 1)],
    "hard": [(1.0, 0.3, 3)],
    "two kinds": [(0.5, 0.5, 8), (1.0, 8, 0.5)],
    "nothing between": [(0.9, 0.05, 5), (1.0, 2, 2)],
}
"""Pass rates of questions: mixtures of Beta distributions, with cumulative weights."""


def rate(lot, parts):
    place = lot.random()
    return next(lot.betavariate(a, b) for weight, a, b in parts if place <= weight)


def probed(lot, parts, *, questions, samples, group):
    found = []
    for _ in range(questions):
        p = rate(lot, parts)
        right = sum(lot.random() < p for _ in range(samples))
        found.append(dead_share([1.0] * right + [0.0] * (samples - right), group))
    return found


def run(lot, parts, *, groups, group):
    """The dead share of a fresh run: other questions, one group of each."""
    rates = [rate(lot, parts) for _ in range(groups)]
    return sum(lot.random() < p**group + (1 - p) ** group for p in rates) / groups


@pytest.mark.parametrize("world", WORLDS)
def test_it_covers_what_a_fresh_run_shows(world):
    parts, lot, times, groups = WORLDS[world], random.Random(world), 700, 80
    hits = widths = 0.0
    for _ in range(times):
        share = predict(
            probed(lot, parts, questions=32, samples=16, group=8),
            None,
            Horizon(steps=10, groups=groups),
        )
        low, high = share.interval
        hits += low - 1e-9 <= run(lot, parts, groups=groups, group=8) <= high + 1e-9
        widths += share.width
    assert 0.94 <= hits / times <= 0.98
    assert widths / times < 0.36


def test_it_keeps_a_width_where_all_questions_agree():
    horizon = Horizon(steps=10, groups=80)
    low, high = predict([1.0] * 32, None, horizon).interval
    assert (high, 0.8 < low < 0.97) == (1.0, True)
    low, high = predict([0.0] * 32, None, horizon).interval
    assert (low, 0.03 < high < 0.2) == (0.0, True)


def test_the_steps_go_from_one_probe_to_the_other():
    horizon = Horizon(steps=10, groups=80, rehearsed=5)
    assert horizon.after == pytest.approx((0 + 0.2 + 0.4 + 0.6 + 0.8 + 5) / 10)
    share = predict([0.1] * 32, [0.5] * 32, horizon)
    assert (share.now, share.later) == (pytest.approx(0.1), pytest.approx(0.5))
    assert share.mean == pytest.approx(0.3 * 0.1 + 0.7 * 0.5)


def test_a_policy_that_moves_is_less_certain():
    horizon = Horizon(steps=10, groups=80, rehearsed=5)
    still = predict([0.4] * 32, [0.4] * 32, horizon)
    moved = predict([0.0] * 32, [0.4 / 0.7] * 32, horizon)
    assert moved.mean == pytest.approx(still.mean)
    assert moved.width > still.width + 0.1


def test_what_is_still_to_come_counts_by_its_learning_rate():
    flat = Horizon(steps=10, groups=80, rehearsed=5)
    assert flat.onward == pytest.approx((0.2 + 0.4 + 0.6 + 0.8) / 10)
    rising = Horizon(steps=10, groups=80, rehearsed=5, rates=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert rising.onward == pytest.approx((6 + 13 + 21 + 30) / 15 / 10)
    assert Horizon(steps=5, groups=40, rehearsed=5).onward == 0
    assert Horizon(steps=10, groups=80).after == 0


@pytest.mark.parametrize("schedule", ["constant", "constant_with_warmup", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 5.0])
def test_the_rates_are_those_of_the_backend(schedule, warmup, tiny_model_folder):
    from grpokit_hf.optim import learning_rate
    from tiny_recipes import tiny_recipe

    optim = {"lr": 1.0, "schedule": schedule, "warmup": warmup}
    recipe = tiny_recipe("hf", tiny_model_folder, optim=optim, train={"steps": 40})
    said = learning_rates(OptimSection.model_validate(optim), 40, 40)
    assert said == pytest.approx([learning_rate(recipe, step) for step in range(40)])

"""Learning-rate schedules, by hand."""

from __future__ import annotations

import pytest

from grpokit_hf.optim import default_lr, learning_rate


def rates(recipe, count: int) -> list[float]:
    return [learning_rate(recipe, index) for index in range(count)]


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.5, [1.0] * 8),
        ("constant_with_warmup", 0.5, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ("constant_with_warmup", 2.0, [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", 0.0, [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("linear", 4.0, [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", 4.0, [0.25, 0.5, 0.75, 1, 1, 0.853553, 0.5, 0.146447]),
        ("linear", 100.0, [i / 8 for i in range(1, 9)]),
    ],
)
def test_schedules(make_recipe, schedule: str, warmup: float, expected: list[float]):
    optim = {"lr": 1.0, "schedule": schedule, "warmup": warmup}
    recipe = make_recipe(optim=optim, train={"steps": 8})
    assert rates(recipe, 8) == pytest.approx(expected, abs=1e-6)


def test_several_optimiser_steps_stretch_the_schedule(make_recipe):
    optim = {"lr": 1.0, "schedule": "linear", "warmup": 2.0, "iterations": 2, "minibatches": 2}
    recipe = make_recipe(optim=optim, train={"steps": 4})
    assert rates(recipe, 8) == pytest.approx([i / 8 for i in range(1, 9)])
    assert rates(recipe, 16)[8:] == pytest.approx([1 - i / 8 for i in range(8)])


def test_the_default_rate_depends_on_what_is_trained(make_recipe):
    assert default_lr(make_recipe(optim={"lr": None})) == 5e-6
    assert default_lr(make_recipe(optim={"lr": None}, model={"lora": None})) == 1e-6

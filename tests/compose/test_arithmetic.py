"""Batch arithmetic."""

import pytest

from grpokit.compose.arithmetic import arithmetic, steps_for_epochs
from grpokit.spec.recipe import Recipe


def recipe(**sections):
    data = {
        "grpokit": 1,
        "model": {"id": "m"},
        "dataset": {"use": "d"},
        "rewards": [{"use": "number"}],
    }
    return Recipe.model_validate({**data, **sections})


def test_every_number():
    numbers = arithmetic(
        recipe(
            rollout={"prompts": 4, "group": 16, "max_tokens": 100},
            optim={"iterations": 2, "minibatches": 3},
            train={"steps": 50},
        ),
        rows=80,
    )
    assert numbers.questions == 200
    assert numbers.completions_per_step == 64
    assert numbers.completions == 3200
    assert numbers.max_new_tokens == 320_000
    assert numbers.optimizer_steps == 300
    assert numbers.epochs == 2.5


def test_an_endless_data_set_has_no_epochs():
    numbers = arithmetic(recipe(), rows=None)
    assert numbers.rows is None
    assert numbers.epochs is None


@pytest.mark.parametrize(
    ("rows", "prompts", "epochs", "steps"),
    [(300, 1, 1, 300), (300, 1, 3, 900), (7473, 8, 1, 935), (1, 8, 1, 1)],
)
def test_steps_for_epochs(rows, prompts, epochs, steps):
    assert steps_for_epochs(rows, prompts, epochs) == steps

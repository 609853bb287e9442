"""The contract that every reward keeps, and the numbers of this one."""

import pytest
from pydantic import ValidationError

from grpokit.testing import check_plugin, check_reward
from grpokit_example_reward.rewards import DistinctConfig, distinct


def test_the_plugin_is_in_order():
    check_plugin("example-reward")


def test_the_contract():
    check_reward("example-reward/distinct", {"answer": "4"}, settings={"n": 2})


@pytest.mark.parametrize(
    ("n", "completion", "score"),
    [
        (1, "a b a b", 2 / 4),
        (2, "a b a b", 2 / 3),  # ab ba ab
        (3, "a b c d", 1.0),
        (3, "Go go GO go go", 1 / 3),
        (3, "two words", None),
        (1, "", None),
        (1, " \n\t", None),
    ],
)
def test_worked_by_hand(n, completion, score):
    assert distinct(DistinctConfig(n=n))(completion) == score


@pytest.mark.parametrize("n", [0, 17, True, "3"])
def test_settings_are_checked(n):
    with pytest.raises(ValidationError):
        DistinctConfig(n=n)

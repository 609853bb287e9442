"""Numbers of the reward, worked by hand, and its settings."""

import pytest
from pydantic import ValidationError

from grpokit_example_reward.rewards import DistinctConfig, distinct


@pytest.mark.parametrize(
    ("n", "completion", "score"),
    [
        (1, "a b a b", 2 / 4),
        (2, "a b a b", 2 / 3),  # ab ba ab
        (3, "a b c d", 1.0),
        (3, "Go go GO go go", 1 / 3),
        (2, "go. Go, (go) - go!", 1 / 3),
        (3, "two words", None),
        (1, "?! ...", None),
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

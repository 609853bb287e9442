"""Gates: what is accepted as one, and that the lower bound decides."""

import pytest

from grpokit.errors import ExitCode, RecipeError, RewardError
from grpokit.evaluate.gates import Gate, check, parse
from grpokit.evaluate.records import Evaluation, Item, compare_evaluations


def evaluation(right, n=100, label="m"):
    items = tuple(
        Item(
            id=str(i),
            index=i,
            question="q",
            answer="a",
            text="t",
            tokens=1,
            finish="stop",
            scores={"r": float(i < right)},
            total=None,
            correct=i < right,
        )
        for i in range(n)
    )
    return Evaluation(label=label, items=items, decides="r", threshold=1.0, fingerprint={})


def test_names_with_either_dash():
    assert parse(["min_delta=0.02", "min-accuracy=.6"], compares=True) == (
        Gate("min-delta", 0.02),
        Gate("min-accuracy", 0.6),
    )
    assert parse(["min-delta=-0.05"], compares=True) == (Gate("min-delta", -0.05),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("accuracy=0.5", "is no gate"),
        ("min-accuracy", "is no gate"),
        ("min-accuracy=nan", "is no gate"),
        ("min-accuracy=60", "is no limit of min-accuracy"),
        ("min-accuracy=-0.1", "is no limit of min-accuracy"),
        ("min-delta=0.1", "compares two models"),
    ],
)
def test_mistakes(text, told):
    with pytest.raises(RecipeError, match=told):
        parse([text], compares=False)


def test_the_lower_bound_decides():
    found = evaluation(60)  # 50.2 % to 69.1 %
    check(parse(["min-accuracy=0.5"], compares=False), [found], None)
    with pytest.raises(RewardError, match=r"min-accuracy is 0\.5020, less than 0\.6") as caught:
        check(parse(["min-accuracy=0.6"], compares=False), [found], None)
    assert caught.value.exit_code == ExitCode.REWARD == 4


def test_a_difference_that_may_be_chance_passes_no_gate():
    base, better, same = evaluation(40), evaluation(60), evaluation(42)
    gates = parse(["min-delta=0.05", "min-accuracy=0.45"], compares=True)
    check(gates, [base, better], compare_evaluations(base, better))
    with pytest.raises(RewardError, match=r"min-delta is -0\.0\d+, .*; min-accuracy is"):
        check(gates, [base, same], compare_evaluations(base, same))

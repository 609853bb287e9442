from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from grpokit.api import Score
from grpokit.scoring.values import read_many, read_one


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, 1.0),
        (3, 3.0),
        (-0.5, -0.5),
        (1e38, 1e38),
        (Fraction(1, 4), 0.25),
        (Decimal("0.1"), 0.1),
    ],
)
def test_lossless_values_are_converted(value, expected):
    outcome = read_one(value)
    assert outcome.fault is None
    assert outcome.value == expected
    assert type(outcome.value) in (float, type(None))


def test_numpy_and_torch_scalars_are_converted():
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    for value in (numpy.float32(0.5), numpy.array(0.5), torch.tensor(0.5), numpy.float64(0.5)):
        assert read_one(value).value == 0.5
    assert read_one(numpy.bool_(True)).value == 1.0
    for values in (numpy.array([1.0, 0.0]), torch.tensor([1, 0])):
        assert [outcome.value for outcome in read_many(values, 2)] == [1.0, 0.0]
    assert read_one(torch.tensor([0.5])).fault.message.startswith("returned a Tensor of shape (1,)")
    assert read_many(torch.ones(2, 1), 2)[0].fault.kind == "type"


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (float("nan"), "non-finite", "returned nan"),
        (float("inf"), "non-finite", "returned a number beyond float32"),
        (1e39, "non-finite", "beyond float32"),
        (10**400, "non-finite", "beyond float32"),
        (Decimal("NaN"), "non-finite", "returned nan"),
        ("1.0", "type", "the text '1.0' where a number is expected"),
        ([1.0], "type", "a list of 1"),
        ({"score": 1}, "type", "a dict of 1"),
        (1j, "type", "a complex"),
        ((x for x in ()), "type", "a generator"),
        (Score(value="1"), "type", "the text '1'"),  # type: ignore[arg-type]
        (Score(value=1.0, components={"a": float("nan")}), "non-finite", "component 'a' is nan"),
    ],
)
def test_everything_else_is_a_fault_and_never_zero(value, kind, message):
    outcome = read_one(value)
    assert outcome.value is None
    assert outcome.fault.kind == kind
    assert message in outcome.fault.message
    assert outcome.fault.remedy


def test_a_score_keeps_its_components_when_it_abstains():
    outcome = read_one(Score(value=None, components={"tone": 1}, note="does not apply"))
    assert (outcome.value, outcome.components, outcome.note) == (
        None,
        {"tone": 1.0},
        "does not apply",
    )


def test_a_list_of_the_wrong_length_fails_every_row():
    for values, kind in (([1.0], "length"), (1.0, "type"), ((x for x in [1.0, 2.0]), "type")):
        outcomes = read_many(values, 2)
        assert [outcome.fault.kind for outcome in outcomes] == [kind, kind]


def test_one_bad_entry_of_a_list_fails_alone():
    first, second, third = read_many([1, float("nan"), None], 3)
    assert (first.value, third.value, third.fault) == (1.0, None, None)
    assert second.fault.kind == "non-finite"

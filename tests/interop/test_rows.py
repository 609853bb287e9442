"""Rows come back from flat columns as they were."""

import pytest

from grpokit.errors import PreflightError
from grpokit.interop.rows import PACKED, pack, unpack, with_answer

ROWS = [
    {"question": "a", "n": 1, "x": 0.5, "ok": True, "tags": ["p", 2], "index": 7, "maybe": None},
    {"question": "ü", "n": 2, "x": 1.0, "ok": False, "tags": [], "index": 8, "extra": {"k": [1]}},
    {"question": "", "n": 2**62, "x": -1.0, "ok": True, "tags": None, "index": 9, "maybe": "m"},
]


def test_through_arrow_and_back():
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    flat = pack(ROWS, ("index",))
    assert set(flat[0]) == {"question", "n", "x", "ok", PACKED}
    table = datasets.Dataset.from_list(flat)
    assert [unpack(row) for row in table] == ROWS


def test_a_column_of_two_types_or_too_large_is_packed():
    rows = [{"a": 1, "b": 2**70, "c": True}, {"a": 1.0, "b": 1, "c": 1}]
    flat = pack(rows, ())
    assert set(flat[0]) == {PACKED}
    back = [unpack(row) for row in flat]
    assert back == rows
    assert [type(row["a"]) for row in back] == [int, float]
    assert [type(row["c"]) for row in back] == [bool, int]


@pytest.mark.parametrize("value", [{1: "a"}, ("a",), {"x"}, float("nan"), b"x"])
def test_what_json_would_change_is_refused(value):
    with pytest.raises(PreflightError, match="data set row 0"):
        pack([{"value": value, "other": [value]}], ())


def test_the_answer_by_its_other_names():
    assert with_answer({"solution": "2", "target": "3"})["answer"] == "2"
    assert with_answer({"answer": "1", "solution": "2"})["answer"] == "1"
    assert with_answer({"question": "?"}) == {"question": "?"}

"""The order of rows is a pure function of seed and step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from grpokit.engine.order import RowOrder
from grpokit.errors import PreflightError


class Rows:
    columns = ("question",)
    fingerprint = "x"

    def __init__(self, size: int | None) -> None:
        self.size = size

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return {"question": str(index)}


def rows_of(order: RowOrder, steps: range) -> list[int]:
    return [row for step in steps for row in order.step(step)]


def test_each_epoch_has_each_row_once_also_when_a_step_crosses_its_end() -> None:
    order = RowOrder(Rows(10), seed=1, prompts=4)
    seen = rows_of(order, range(1, 6))  # 20 rows, two epochs
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_a_step_can_be_asked_alone_and_in_any_order() -> None:
    order = RowOrder(Rows(10), seed=1, prompts=4)
    forward = [order.step(step) for step in range(1, 9)]
    other = RowOrder(Rows(10), seed=1, prompts=4)
    assert [other.step(step) for step in range(8, 0, -1)] == forward[::-1]


def test_seeds_differ_and_without_shuffle_the_file_decides() -> None:
    first = RowOrder(Rows(50), seed=1, prompts=10).step(1)
    assert first != RowOrder(Rows(50), seed=2, prompts=10).step(1)
    assert RowOrder(Rows(50), seed=1, prompts=10, shuffle=False).step(2) == list(range(10, 20))


def test_refused_rows_never_appear() -> None:
    order = RowOrder(Rows(10), seed=1, prompts=5, keep=lambda row: row % 2 == 0)
    assert Counter(rows_of(order, range(1, 5))) == dict.fromkeys(range(0, 10, 2), 4)
    endless = RowOrder(Rows(None), seed=1, prompts=5, keep=lambda row: row % 2 == 0)
    assert all(row % 2 == 0 for row in rows_of(endless, range(1, 20)))


def test_nothing_left_is_an_error_with_a_remedy() -> None:
    with pytest.raises(PreflightError, match="no row left"):
        RowOrder(Rows(3), seed=1, prompts=1, keep=lambda row: False)
    with pytest.raises(PreflightError, match="too long"):
        RowOrder(Rows(None), seed=1, prompts=1, keep=lambda row: False).step(1)


def test_an_endless_data_set_differs_by_seed_and_hardly_repeats() -> None:
    order = RowOrder(Rows(None), seed=1, prompts=8)
    seen = rows_of(order, range(1, 101))
    assert len(set(seen)) > 790
    assert order.step(1) != RowOrder(Rows(None), seed=2, prompts=8).step(1)
    assert RowOrder(Rows(10), seed=1, prompts=4).epoch_of(5) == 2.0
    assert order.epoch_of(5) is None

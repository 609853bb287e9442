"""The walk is a pure function of seed and position."""

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


def rows_of(order: RowOrder, count: int, start: int = 0) -> list[int]:
    return [order.at(position) for position in range(start, start + count)]


def test_each_epoch_has_each_row_once() -> None:
    order = RowOrder(Rows(10), seed=1)
    seen = rows_of(order, 20)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert order.size == 10
    assert order.row(3) == {"question": "3"}


def test_a_position_can_be_asked_alone_and_in_any_order() -> None:
    order, other = RowOrder(Rows(10), seed=1), RowOrder(Rows(10), seed=1)
    forward = rows_of(order, 32)
    assert [other.at(position) for position in range(31, -1, -1)] == forward[::-1]


def test_seeds_differ_and_without_shuffle_the_file_decides() -> None:
    first = rows_of(RowOrder(Rows(50), seed=1), 10)
    assert first != rows_of(RowOrder(Rows(50), seed=2), 10)
    assert rows_of(RowOrder(Rows(50), seed=1, shuffle=False), 10, 10) == list(range(10, 20))


def test_refused_rows_never_appear() -> None:
    order = RowOrder(Rows(10), seed=1, keep=lambda row: row % 2 == 0)
    assert Counter(rows_of(order, 20)) == dict.fromkeys(range(0, 10, 2), 4)
    assert order.size == 5
    endless = RowOrder(Rows(None), seed=1, keep=lambda row: row % 2 == 0)
    assert all(row % 2 == 0 for row in rows_of(endless, 95))


def test_nothing_left_is_an_error_with_a_remedy() -> None:
    with pytest.raises(PreflightError, match="no row left"):
        RowOrder(Rows(3), seed=1, keep=lambda row: False)
    with pytest.raises(PreflightError, match="too long"):
        RowOrder(Rows(None), seed=1, keep=lambda row: False).at(0)


def test_an_endless_data_set_differs_by_seed_and_hardly_repeats() -> None:
    order = RowOrder(Rows(None), seed=1)
    assert len(set(rows_of(order, 800))) > 790
    assert rows_of(order, 8) != rows_of(RowOrder(Rows(None), seed=2), 8)
    assert RowOrder(Rows(10), seed=1).epochs(20) == 2.0
    assert order.epochs(20) is None
    assert order.size is None

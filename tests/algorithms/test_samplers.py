"""Samplers: which rows they ask, what they remember, where they end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from grpokit.algorithms.sampler import Band, Hardest, OneExample, Stage, Staged, in_order
from grpokit.algorithms.sampler_history import EasyDrop, History, Variance
from grpokit.algorithms.step_config import (
    BandConfig,
    OneExampleConfig,
    StageConfig,
    StagedConfig,
    VarianceConfig,
)
from grpokit.engine.order import RowOrder
from grpokit.errors import ComponentError, PreflightError
from grpokit.spec.flow import Outcome
from tables import rollout_of, scores_of


class Rows:
    """A data set with the columns of a table."""

    fingerprint = "x"

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, endless: bool = False) -> None:
        self.rows = rows
        self.columns = tuple(rows[0])
        self.size = None if endless else len(rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        if self.size is None:
            return self.rows[index % len(self.rows)]
        return self.rows[index]


def walk_of(rows: Sequence[Mapping[str, Any]], **settings: Any) -> RowOrder:
    endless = settings.pop("endless", False)
    return RowOrder(Rows(rows, endless=endless), seed=3, **{"shuffle": False, **settings})


def outcome(step: int, table: Mapping[int, Sequence[float | None]], **rewards: Any) -> Outcome:
    """Groups by row."""
    totals = [list(group) for group in table.values()]
    return Outcome(
        step=step,
        rollout=rollout_of([[3] * len(group) for group in totals], rows=tuple(table), step=step),
        scores=scores_of(totals, **rewards),
        kept=(0,),
        metrics={},
    )


def rounded(part: Any, fresh: Any) -> Any:
    """A new part with the state of the other one, through JSON."""
    fresh.load_state(json.loads(json.dumps(part.state())))
    return fresh


def epoch(part: Any, walk: RowOrder, position: int = 0, step: int = 9) -> list[int]:
    """Rows that come before the position has passed one epoch."""
    rows: list[int] = []
    end = position + (walk.size or 0)
    while True:
        draw = part(walk, position, 1, step)
        if draw.position > end:
            return rows
        rows += draw.rows
        position = draw.position


TEN = [{"pass_rate": rate} for rate in (0.5, 0.1, 0.9, 0.0, 1.0, 0.3, 0.3, 0.7, 0.2, 0.8)]


def test_hardest_are_the_lowest_pass_rates() -> None:
    walk = walk_of(TEN)
    assert Hardest(share=0.1).rows(walk) == [3]
    assert Hardest(share=0.45).rows(walk) == [3, 1, 8, 5, 6]
    assert epoch(Hardest(share=0.5), walk) == [1, 3, 5, 6, 8]
    draw = Hardest(share=0.3)(walk, 0, 5, 1)
    assert draw.rows == (1, 3, 8, 1, 3)
    assert draw.position == 14


def test_hardest_keeps_the_shuffling_of_the_walk_and_knows_two_walks() -> None:
    part = Hardest(share=0.5)
    shuffled = walk_of(TEN, shuffle=True)
    rows = epoch(part, shuffled)
    assert sorted(rows) == [1, 3, 5, 6, 8]
    assert rows == [row for row in map(shuffled.at, range(10)) if row in set(rows)]
    assert rows != sorted(rows)
    assert part(walk_of([{"pass_rate": 1.0}] * 2), 0, 2, 1).rows == (0, 0)


def test_hardest_never_takes_a_row_that_the_walk_leaves_out() -> None:
    walk = walk_of(TEN, keep=lambda row: row != 3)
    assert Hardest(share=0.1).rows(walk) == [1]


def test_band() -> None:
    walk = walk_of(TEN)
    assert epoch(Band(low=0.2, high=0.5), walk) == [0, 5, 6, 8]
    endless = walk_of(TEN, endless=True)
    assert Band(low=0.2, high=0.5)(endless, 3, 3, 1).rows == (5, 6, 8)
    with pytest.raises(PreflightError, match=r"no row has a `pass_rate` between 0.95 and 0.96"):
        Band(low=0.95, high=0.96)(walk, 0, 1, 1)
    with pytest.raises(PreflightError, match="no row has"):
        Band(low=0.95, high=0.96)(endless, 0, 1, 1)
    with pytest.raises(ValidationError, match=r"low is 0\.5 and must not exceed high"):
        BandConfig(low=0.5, high=0.4)


@pytest.mark.parametrize("part", [Hardest("rate"), Band("rate"), Variance(1, "rate")])
def test_a_column_that_does_not_exist_is_named(part: Any) -> None:
    with pytest.raises(PreflightError, match="`rate`, which row 0 does not have; it has pass_rate"):
        part(walk_of(TEN), 0, 1, 1)
    for bad in ("0.5", None, float("inf")):
        with pytest.raises(PreflightError, match="`rate`; row 0 has"):
            part(walk_of([{"rate": bad}]), 0, 1, 1)


def test_ranking_needs_an_end() -> None:
    with pytest.raises(PreflightError, match="`hardest` ranks all rows") as caught:
        Hardest()(walk_of(TEN, endless=True), 0, 1, 1)
    assert "dataset.limit" in caught.value.remedy


def test_one_example_fills_the_step_and_several_take_turns() -> None:
    walk = walk_of(TEN)
    assert OneExample((4,))(walk, 0, 3, 1).rows == (4, 4, 4)
    first = OneExample((4, 7))(walk, 0, 3, 1)
    assert first.rows == (4, 7, 4)
    assert OneExample((4, 7))(walk, first.position, 3, 2).rows == (7, 4, 7)
    with pytest.raises(PreflightError, match="row 10, which the data set does not have"):
        OneExample((10,))(walk, 0, 1, 1)
    with pytest.raises(ValidationError, match="row -1 does not exist"):
        OneExampleConfig(rows=[0, -1])


DOMAINS = [{"domain": name, "level": level} for level in (1, 2) for name in ("math", "code", "art")]


def test_stages_follow_one_another_and_the_last_has_no_end() -> None:
    part = Staged(
        (
            Stage(2, {"domain": "math"}),
            Stage(3, {"domain": ("math", "code"), "level": 2}),
            Stage(None, {}),
        )
    )
    walk = walk_of(DOMAINS)
    steps = {step: epoch(part, walk, step=step) for step in (1, 2, 3, 5, 6, 99)}
    assert steps[1] == steps[2] == [0, 3]
    assert steps[3] == steps[5] == [3, 4]
    assert steps[6] == steps[99] == [0, 1, 2, 3, 4, 5]
    nothing = Staged((Stage(None, {"domain": "law"}),))
    with pytest.raises(PreflightError, match="the stage of step 4: domain 'law'"):
        nothing(walk, 0, 1, 4)


def test_settings_of_stages() -> None:
    config = StagedConfig.model_validate(
        {"stages": [{"steps": 100, "where": {"domain": "math"}}, {"where": {"domain": ["code"]}}]}
    )
    assert config.columns() == ("domain",)
    with pytest.raises(ValidationError, match="each stage but the last needs steps"):
        StagedConfig(stages=[StageConfig(), StageConfig()])
    with pytest.raises(ValidationError, match="the last stage has no end"):
        StagedConfig(stages=[StageConfig(steps=3)])


FOUR = [{"question": str(i)} for i in range(4)]


def test_srpo_drops_all_right_and_keeps_all_wrong_and_mixed() -> None:
    part, walk = History(), walk_of(FOUR)
    assert epoch(part, walk) == [0, 1, 2, 3]
    table = {0: [1.0, 1.0], 1: [0.0, 0.0], 2: [1.0, 0.0], 3: [1.0, None]}
    part.observe(outcome(1, table))
    assert epoch(part, walk, 4) == [1, 2]
    assert part.records == {0: (1, 2, 2), 1: (1, 0, 2), 2: (1, 1, 2), 3: (1, 1, 1)}
    part.observe(outcome(2, {1: [1.0, 1.0], 2: [0.0, 0.0]}))
    assert epoch(part, walk, 8) == [2]
    assert epoch(rounded(part, History()), walk, 8) == [2]


def test_history_decides_by_a_named_reward_and_forgets_when_told() -> None:
    part = History(metric="right", threshold=0.5, again_after=2)
    part.observe(outcome(5, {0: [9.0], 1: [9.0]}, right=[[0.5], [0.4]]))
    walk = walk_of(FOUR)
    assert [0 in epoch(part, walk, step=step) for step in (6, 7, 8)] == [False, False, True]
    with pytest.raises(ComponentError, match="`wrong`, which does not exist"):
        History(metric="wrong").observe(outcome(1, {0: [1.0]}))


def test_history_acts_within_stages() -> None:
    part = History(stages=(Stage(3, {"domain": "math"}), Stage(None, {"domain": "code"})))
    walk = walk_of(DOMAINS)
    assert epoch(part, walk, step=1) == [0, 3]
    part.observe(outcome(1, {0: [1.0], 3: [0.0]}))
    assert epoch(part, walk, step=3) == [3]
    assert epoch(part, walk, step=4) == [1, 4]
    part.observe(outcome(4, {1: [1.0], 4: [1.0]}))
    with pytest.raises(PreflightError, match="every row of the stage is solved"):
        part(walk, 0, 1, 5)


def test_abstentions_leave_no_record_and_both_groups_of_a_row_count() -> None:
    part = History()
    part.observe(outcome(1, {0: [None, None]}))
    assert part.records == {}
    twice = Outcome(
        step=2,
        rollout=rollout_of([[3], [3]], rows=(1, 1)),
        scores=scores_of([[1.0], [0.0]]),
        kept=(),
        metrics={},
    )
    part.observe(twice)
    assert part.records == {1: (2, 1, 2)}


def test_a_solved_data_set_ends_the_run_with_a_reason() -> None:
    part = History()
    part.observe(outcome(1, {row: [1.0] for row in range(4)}))
    with pytest.raises(PreflightError, match="every row is solved") as caught:
        part(walk_of(FOUR), 0, 1, 2)
    assert "again_after" in caught.value.remedy


def test_polaris_drops_at_borders_only() -> None:
    part, walk = EasyDrop(above=0.9, after=frozenset({2})), walk_of(FOUR)
    part.observe(outcome(1, {0: [1.0, 1.0], 1: [1.0, 0.9]}))
    assert epoch(part, walk) == [0, 1, 2, 3]
    half = rounded(part, EasyDrop(above=0.9, after=frozenset({2})))
    for each in (part, half):
        each.observe(outcome(2, {0: [0.8, 0.8], 2: [0.9, 0.9]}))
        assert epoch(each, walk) == [0, 2, 3], "0: mean 0.9 is not above, 1: 0.95 is, 2: 0.9 is not"
        assert each.sums == {}
    part.observe(outcome(3, {0: [1.0]}))
    assert epoch(part, walk) == [0, 2, 3]
    assert part.state() == {"sums": {"0": [1.0, 1]}, "dropped": [1]}


def test_borders_may_repeat_and_may_leave_nothing() -> None:
    part = EasyDrop(every=2)
    part.observe(outcome(1, {row: [1.0] for row in range(4)}))
    part.observe(outcome(2, {0: [1.0]}))
    with pytest.raises(PreflightError, match="every row was dropped"):
        part(walk_of(FOUR), 0, 1, 3)


def test_variance_of_a_column() -> None:
    rows = [{"acc": acc} for acc in ([0.5, 0.5], [0.0, 1.0], [0.2, 0.4], [1.0, 0.0])]
    walk = walk_of(rows)
    assert Variance(1, "acc")(walk, 0, 3, 1).rows == (1, 1, 1)
    assert Variance(3, "acc")(walk, 1, 3, 1).rows == (3, 2, 1)
    numbers = walk_of([{"acc": spread} for spread in (0.1, 0.3, 0.2)])
    assert Variance(2, "acc")(numbers, 0, 2, 1).rows == (1, 2)


def test_variance_is_recorded_in_a_warm_up_and_chosen_once() -> None:
    part, walk = Variance(top=2, warmup=2), walk_of(FOUR)
    assert part(walk, 0, 4, 1).rows == (0, 1, 2, 3)
    part.observe(outcome(1, {0: [0.0, 1.0], 1: [0.0, 0.0], 2: [1.0, 1.0], 3: [1.0, 1.0]}))
    half = rounded(part, Variance(top=2, warmup=2))
    for each in (part, half):
        each.observe(outcome(2, {0: [0.0, 1.0], 1: [1.0, 1.0], 2: [1.0, 0.0]}))
        assert each.chosen == (1, 2)
        each.observe(outcome(3, {0: [1.0, 1.0]}))
        assert each(walk, 8, 3, 4).rows == (1, 2, 1)
    assert rounded(part, Variance(top=2, warmup=2)).chosen == (1, 2)
    short = Variance(warmup=1)
    short.observe(outcome(1, {0: [1.0]}))
    with pytest.raises(PreflightError, match="no row was asked twice"):
        short(walk, 4, 1, 2)
    for wrong in ({}, {"column": "acc", "warmup": 3}):
        with pytest.raises(ValidationError, match="set either column"):
            VarianceConfig(**wrong)


PARTS = [
    lambda: in_order,
    lambda: Hardest(share=0.4),
    lambda: Band(low=0.2, high=0.8),
    lambda: OneExample((1, 4, 2)),
    lambda: Staged((Stage(3, {"kind": "a"}), Stage(None, {"kind": ("a", "b")}))),
    History,
    lambda: EasyDrop(every=2),
    lambda: Variance(top=2, warmup=8),
]


def play(part: Any, walk: RowOrder, first: int, last: int, position: int) -> tuple[list[Any], int]:
    """Draws of some steps whose scores are a fixed function of row and step."""
    draws = []
    for step in range(first, last + 1):
        draw = part(walk, position, 3, step)
        assert len(draw.rows) == 3
        assert draw.position > position
        position = draw.position
        draws.append(draw.rows)
        if hasattr(part, "observe"):
            scores = {row: [float((row + step) % 5 > 0), float(row % 2)] for row in draw.rows}
            part.observe(outcome(step, scores))
    return draws, position


@pytest.mark.parametrize("make", PARTS)
@pytest.mark.parametrize("seed", range(3))
def test_an_interrupted_walk_goes_on_as_if_it_had_not_been(make: Any, seed: int) -> None:
    rows = [{"pass_rate": i / 10, "kind": "abc"[i % 3]} for i in range(10)]
    walk = RowOrder(Rows(rows), seed=seed)
    whole, end = play(make(), walk, 1, 10, 0)
    for cut in (1, 4, 9):
        part = make()
        begin, position = play(part, walk, 1, cut, 0)
        again = make()
        if hasattr(part, "state"):
            rounded(part, again)
        rest, last = play(again, RowOrder(Rows(rows), seed=seed), cut + 1, 10, position)
        assert begin + rest == whole
        assert last == end

"""Which groups go on, and when a step asks more: tables worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from grpokit.algorithms.allocate import DynamicSampling, Rounds, StdFilter, fixed, rescue
from grpokit.algorithms.rollout import SamplingStages, as_given
from grpokit.algorithms.step_config import DynamicSamplingConfig, RoundsConfig, StagesConfig
from grpokit.algorithms.step_parts import stages, stages_of
from grpokit.errors import ComponentError, PreflightError
from grpokit.spec.flow import Advantages, Allocation, Gathered, Outcome, Sampling
from tables import rollout_of, scores_of

LIVE, ALL_RIGHT, ALL_WRONG = [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]


def gathered(
    totals: Any, *, wanted: int = 2, rounds: int = 1, step: int = 1, seed: int = 0, **rewards: Any
) -> Gathered:
    rollout = rollout_of([[3] * len(group) for group in totals], step=step, seed=seed)
    advantages_PG = torch.tensor(
        [[0.0 if None in group else value - group[0] for value in group] for group in totals]
    )
    return Gathered(
        rollout=rollout,
        scores=scores_of(totals, **rewards),
        advantages=Advantages(
            advantages_PG=advantages_PG,
            valid_PG=torch.ones_like(advantages_PG, dtype=torch.bool),
            dead_P=(advantages_PG == 0).all(-1),
        ),
        wanted=wanted,
        rounds=rounds,
    )


def outcome(step: int, totals: Any) -> Outcome:
    whole = gathered(totals, step=step)
    return Outcome(step=step, rollout=whole.rollout, scores=whole.scores, kept=(), metrics={})


def test_dynamic_sampling_keeps_groups_whose_metric_differs() -> None:
    part = DynamicSampling()
    table = [ALL_RIGHT, LIVE, ALL_WRONG, LIVE]
    assert part(gathered(table)) == Allocation(keep=(1, 3))
    assert part(gathered([LIVE, ALL_WRONG])).more == 2
    assert part(gathered([LIVE, ALL_WRONG, ALL_WRONG, LIVE], rounds=2)).keep == (0, 3)


def test_a_surplus_is_cut_in_order() -> None:
    part = DynamicSampling(rounds=Rounds(factor=3.0))
    assert part.first(2) == 6
    assert part(gathered([ALL_WRONG, LIVE, LIVE, ALL_RIGHT, LIVE, LIVE])).keep == (1, 2)


def test_a_named_metric_and_not_the_shaped_total() -> None:
    part = DynamicSampling(metric="right")
    whole = gathered([[0.9, 0.8], LIVE], wanted=1, right=[[1.0, 1.0], [1.0, 0.0]])
    assert part(whole).keep == (1,)
    with pytest.raises(ComponentError, match="`dynamic-sampling` looks at the reward `acc`") as c:
        DynamicSampling(metric="acc")(whole)
    assert "right" in c.value.remedy


def test_abstentions_are_left_out() -> None:
    table = [[1.0, None], [None, None], [1.0, None], [1.0, 0.0]]
    assert DynamicSampling()(gathered(table, wanted=1)).keep == (3,)
    with_two = [[1.0, None, 0.0], [1.0, None, 1.0]]
    assert DynamicSampling()(gathered(with_two, wanted=1)).keep == (0,)


def test_rounding_noise_is_no_signal() -> None:
    table = [[0.1 + 0.2, 0.3], LIVE]
    assert DynamicSampling()(gathered(table, wanted=1)).keep == (1,)
    assert DynamicSampling(tolerance=0.5)(gathered([LIVE], wanted=1)).more == 1


@pytest.mark.parametrize(("refill", "more"), [("round", 6), ("missing", 1)])
def test_a_further_round_asks_as_told(refill: Any, more: int) -> None:
    part = DynamicSampling(rounds=Rounds(factor=3.0, refill=refill))
    assert part(gathered([LIVE] + [ALL_WRONG] * 5)).more == more


def test_the_bound_is_an_error_or_trains_on_what_there_is() -> None:
    last: dict[str, Any] = {"wanted": 3, "rounds": 10}
    with pytest.raises(PreflightError, match="after 10 rounds 1 of 2 groups have different") as c:
        DynamicSampling()(gathered([ALL_WRONG, LIVE], **last))
    assert c.value.place == "step 1"
    assert "on_bound: train" in c.value.remedy
    train = DynamicSampling(rounds=Rounds(on_bound="train"))
    assert train(gathered([ALL_WRONG, LIVE], **last)) == Allocation(keep=(1,))
    assert train(gathered([ALL_WRONG] * 5, **last)) == Allocation(keep=(0, 1, 2))
    assert train(gathered([LIVE] * 4, **last)) == Allocation(keep=(0, 1, 2))


def test_the_plan_hears_of_the_first_round() -> None:
    assert DynamicSamplingConfig(factor=1.5).asks(prompts=5, max_tokens=9) == (8, 9)
    assert RoundsConfig(factor=3.0).asks(prompts=512, max_tokens=9) == (1536, 9)
    assert Rounds(factor=1.1).first(10) == 11


def test_rlpr_filters_against_a_running_mean() -> None:
    """Steps 2 and 3 have mean deviations .25 and .5: .375; then .1: .9 * .375 + .1 * .1 = .3475."""
    part = StdFilter(ratio=0.9, beta=0.5, since=2, start=4)
    part.observe(outcome(1, [[0.0, 9.0]]))
    assert part.mean is None
    part.observe(outcome(2, [LIVE, ALL_WRONG]))
    assert part(gathered([LIVE, ALL_WRONG], step=3)).keep == (0, 1)
    part.observe(outcome(3, [LIVE, [None, 1.0]]))
    assert part.mean == pytest.approx(0.375)
    table = [[0.0, 0.374], [0.0, 0.376], ALL_WRONG, [0.0, 0.5]]
    assert part(gathered(table, step=4)).keep == (1, 3)
    assert part(gathered(table, step=4, wanted=3)).more == 3
    part.observe(outcome(4, [[0.0, 0.2]]))
    assert part.mean == pytest.approx(0.3475)
    other = StdFilter(ratio=0.9, beta=0.5, since=2, start=4)
    other.load_state(json.loads(json.dumps(part.state())))
    assert other == part
    other.observe(outcome(5, [[None, None]]))
    assert other == part


def test_rescue_fills_the_places_of_dead_groups() -> None:
    table = [ALL_WRONG, LIVE, ALL_RIGHT, LIVE, ALL_WRONG]
    kept = {rescue(gathered(table, wanted=5, step=step)).keep for step in range(1, 60)}
    assert all(len(keep) == 5 and keep[1] == 1 and keep[3] == 3 for keep in kept)
    assert all(set(keep) == {1, 3} for keep in kept)
    assert {(keep[0], keep[2], keep[4]) for keep in kept} == {
        (a, b, c) for a in (1, 3) for b in (1, 3) for c in (1, 3)
    }
    one, other = (rescue(gathered(table, wanted=5, step=7, seed=4)) for _ in range(2))
    assert one == other
    assert one.more == 0


def test_rescue_without_an_informative_group_keeps_all() -> None:
    assert rescue(gathered([ALL_WRONG, ALL_RIGHT])).keep == (0, 1)
    assert (
        rescue(gathered([LIVE, LIVE])) == fixed(gathered([LIVE, LIVE])) == Allocation(keep=(0, 1))
    )


GIVEN = Sampling(group=4, max_tokens=10, temperature=1.0, top_p=0.9)


def test_stages_of_drawing_add_up() -> None:
    config = StagesConfig.model_validate(
        {
            "stages": [
                {"from": 3, "max_tokens": 16},
                {"from": 5, "temperature": 1.45, "max_tokens": 12, "min_p": 0.1},
            ]
        }
    )
    part = stages(config)
    assert isinstance(part, SamplingStages)
    found = {}
    for step in (1, 2, 3, 4, 5, 50):
        sampling = part(replace(GIVEN, step=step))
        assert (sampling.step, sampling.group, sampling.top_p) == (step, 4, 0.9)
        found[step] = (sampling.max_tokens, sampling.temperature, sampling.min_p)
    assert found[1] == found[2] == (10, 1.0, 0.0)
    assert found[3] == found[4] == (16, 1.0, 0.0)
    assert found[5] == found[50] == (12, 1.45, 0.1)
    assert config.asks(prompts=3, max_tokens=10) == (3, 16)
    assert config.asks(prompts=3, max_tokens=99) == (3, 99)
    assert stages_of([]) is as_given


def test_a_limit_that_never_holds_is_not_the_longest() -> None:
    config = StagesConfig.model_validate({"stages": [{"from": 1, "max_tokens": 4}]})
    assert config.asks(prompts=1, max_tokens=10) == (1, 4)


@pytest.mark.parametrize(
    "bad",
    [
        {"stages": []},
        {"stages": [{"from": 0}]},
        {"stages": [{"from": 2, "temperature": 0.0}]},
        {"stages": [{"from": 2}, {"from": 2}]},
        {"stages": [{"max_tokens": 4}]},
    ],
)
def test_stages_that_cannot_be(bad: Any) -> None:
    with pytest.raises(ValidationError):
        StagesConfig.model_validate(bad)

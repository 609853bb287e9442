"""The rule by itself: quota, rank, ties, scope, denominators, and what is refused."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from grpokit.api import Advantages, GrpokitError
from grpokit.compose.load import load_recipe
from grpokit.registry.catalog import Catalog
from grpokit.testing import check_plugin
from grpokit_cppo.config import CppoConfig, PruneConfig
from grpokit_cppo.prune import Prune, build

LEVELS = (0.0, 1.0, 1.5, 2.5, 3.0)


def draw(seed: int, prompts: int = 5, group: int = 8) -> list[list[float]]:
    rng = random.Random(seed)
    return [[rng.choice(LEVELS) for _ in range(group)] for _ in range(prompts)]


def slow(values: list[float], count: int, metric: str) -> list[int]:
    """The rule, one completion at a time: the first of the best, ``count`` times."""
    better = {
        "smallest": lambda a, b: abs(a) > abs(b) + 1e-6,
        "largest": lambda a, b: abs(a) < abs(b) - 1e-6,
        "smallest-raw": lambda a, b: a > b + 1e-6,
        "largest-raw": lambda a, b: a < b - 1e-6,
    }[metric]
    left, found = list(range(len(values))), []
    for _ in range(count):
        best = left[0]
        for index in left[1:]:
            if better(values[index], values[best]):
                best = index
        left.remove(best)
        found.append(best)
    return sorted(found)


def test_the_plugin_is_in_order():
    check_plugin("cppo")


@pytest.mark.parametrize("metric", ["smallest", "largest", "smallest-raw", "largest-raw"])
@pytest.mark.parametrize("scope", ["question", "device"])
def test_it_is_the_slow_rule(select, advantages_of, metric, scope):
    for seed in range(25):
        rewards = draw(seed)
        found = select(rewards, metric=metric, scope=scope, rate=0.75).rows
        table = advantages_of(rewards).advantages_PG
        pools = table.tolist() if scope == "question" else [table.flatten().tolist()]
        expected = [
            divmod(pool * 8 + row, 8)
            for pool, values in enumerate(pools)
            for row in slow(values, len(values) // 4, metric)
        ]
        assert list(found) == expected


@pytest.mark.parametrize("metric", ["smallest", "largest", "random", "smallest-raw", "largest-raw"])
@pytest.mark.parametrize("ties", ["index", "random"])
@pytest.mark.parametrize("count", range(1, 9))
def test_exactly_k_stay_of_every_question(select, metric, ties, count):
    for quota in ({"keep": count}, {"rate": 1 - count / 8}):
        found = select(draw(3), metric=metric, ties=ties, **quota)
        assert Counter(p for p, _ in found.rows) == dict.fromkeys(range(5), count)
        assert found.weights == (1.0,) * (5 * count)
        assert list(found.rows) == sorted(found.rows)


def test_half_stays_where_nothing_is_said(select):
    assert len(select(draw(0)).rows) == 20
    assert len(select(draw(0), rate=0.0).rows) == 40


@pytest.mark.parametrize("group", [2, 3, 5, 6, 7, 10, 12, 16, 40, 64])
def test_rates_that_fit_are_taken_despite_their_rounding(select, group):
    for count in range(1, group + 1):
        rewards = [[float(index) for index in range(group)]]
        assert len(select(rewards, rate=(group - count) / group).rows) == count


@pytest.mark.parametrize(
    ("group", "settings", "place", "words"),
    [
        (4, {"rate": 0.875}, "rate", "rate 0.875 leaves 0.5 of the 4 completions of a question"),
        (16, {"rate": 0.9}, "rate", "0.9375 (keeps 1) or 0.875 (keeps 2)"),
        (5, {"rate": 0.5}, "rate", "0.6 (keeps 2) or 0.4 (keeps 3)"),
        (5, {"rate": 0.5, "scope": "device"}, "rate", "completions of the step"),
        (16, {"rate": 0.95}, "rate", "0.9375 (keeps 1), or change rollout.group"),
        (3, {}, "rate", "rate 0.5 leaves 1.5"),
        (4, {"keep": 5}, "keep", "set keep to 4 or less"),
        (4, {"keep": 5, "scope": "global"}, "keep", "a question has 4 completions"),
    ],
)
def test_what_does_not_fit_the_group_is_said(
    rollout_of, scores_of, advantages_of, group, settings, place, words
):
    rewards = [[float(index) for index in range(group)]]
    arguments = (rollout_of(rewards), scores_of(rewards), advantages_of(rewards))
    with pytest.raises(GrpokitError) as caught:
        build(PruneConfig(**settings))(*arguments)
    assert caught.value.place == f"algorithm.parts.select.with.{place}"
    assert words in str(caught.value)
    assert caught.value.remedy
    with pytest.raises(GrpokitError) as caught:
        Prune(config=CppoConfig(**settings), place="algorithm.with")(*arguments)
    assert caught.value.place == f"algorithm.with.{place}"


def test_the_rates_it_proposes_are_right(select):
    for group in range(1, 20):
        rewards = [[float(index) for index in range(group)]]
        for rate in (0.37, 0.5, 0.61, 0.875, 0.99):
            try:
                select(rewards, rate=rate)
            except GrpokitError as error:
                proposed = error.remedy.removeprefix("set rate to ").split(", ")[0].split(" or ")
                for text in proposed:
                    value, _, count = text.removesuffix(")").partition(" (keeps ")
                    assert len(select(rewards, rate=float(value)).rows) == int(count)


PART = """\
grpokit: 1
extends: quickstart
rollout: {{prompts: 3, group: 4}}
algorithm:
  parts:
    select: {{use: prune, with: {settings}}}
"""


@pytest.mark.parametrize(
    ("settings", "place", "words"),
    [
        ("{rate: 0.875}", "6:39", "leaves 0.5 of the 4 completions of a question"),
        ("{scope: device, rate: 0.95}", "6:54", "leaves 0.6 of the 12 completions of the step"),
        ("{keep: 5}", "6:39", "a question has 4 completions"),
        ("{scope: device, devices: 2}", "6:57", "3 questions a step cannot be dealt to 2 devices"),
        ("{scope: device, devices: 3, rate: 0.9}", "6:66", "the 4 completions of a device"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_before_it_does(tmp_path, settings, place, words):
    (tmp_path / "bad.yaml").write_text(PART.format(settings=settings))
    with pytest.raises(GrpokitError) as caught:
        load_recipe("bad.yaml", catalog=Catalog.load(), cwd=tmp_path)
    (line,) = caught.value.problems
    assert line.startswith(f"bad.yaml:{place}: R622 ")
    assert words in line


@pytest.mark.parametrize(
    "settings",
    ["{rate: 0.75}", "{keep: 4}", "{scope: device, rate: 0.875}", "{metric: threshold, gamma: 1}"],
)
def test_a_recipe_that_fits(tmp_path, settings):
    text = PART.format(settings=settings).replace("prompts: 3", "prompts: 2")
    (tmp_path / "good.yaml").write_text(text)
    load_recipe("good.yaml", catalog=Catalog.load(), cwd=tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": 1.0},
        {"rate": -0.1},
        {"keep": 0},
        {"keep": 2.0},
        {"rate": 0.5, "keep": 2},
        {"metric": "threshold"},
        {"metric": "threshold", "gamma": 1.0, "keep": 2},
        {"metric": "threshold", "gamma": 1.0, "rate": 0.5},
        {"metric": "threshold", "gamma": -1.0},
        {"gamma": 1.0},
        {"metric": "smallest_raw"},
        {"scope": "rank"},
        {"devices": 0},
        {"devices": 2},
        {"devices": 2, "scope": "global"},
    ],
)
@pytest.mark.parametrize("model", [PruneConfig, CppoConfig])
def test_settings_are_checked(model, settings):
    with pytest.raises(ValidationError):
        model(**settings)


# ------------------------------------------------------------------ chance


def test_lots_follow_from_seed_and_step(select):
    def chosen(**settings: Any) -> tuple[tuple[int, int], ...]:
        return select(draw(1), metric="random", rate=0.75, **settings).rows

    assert chosen() == chosen()
    assert len({chosen(seed=seed) for seed in range(10)}) == 10
    assert len({chosen(step=step) for step in range(10)}) == 10
    by_question: dict[int, list[int]] = {}
    for p, g in chosen():
        by_question.setdefault(p, []).append(g)
    assert len({tuple(places) for places in by_question.values()}) > 1


def test_every_row_is_drawn_about_as_often(select):
    """2000 draws of 2 out of 8: 500 each, and 6 standard deviations are 116."""
    rewards = [[0.0] * 8]
    for settings in ({"metric": "random"}, {"ties": "random"}):
        rows = Counter(
            g
            for step in range(2000)
            for _, g in select(rewards, step=step, keep=2, **settings).rows
        )
        assert all(abs(rows[g] - 500) < 116 for g in range(8))


def test_a_lot_decides_only_between_equals(select):
    rewards = [[3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    drawn = {select(rewards, keep=2, ties="random", step=step).rows for step in range(60)}
    assert drawn == {((0, 0), (0, g)) for g in range(1, 8)}


def test_rounding_is_no_difference(rollout_of, scores_of):
    rewards = [[0.0] * 4, [0.0] * 4]
    table = torch.tensor([[1.0, 1.0 + 3e-7, -1.0 - 5e-7, 0.2], [1.0, 1.0 + 3e-6, -1.0, 0.2]])
    advantages = Advantages(
        advantages_PG=table,
        valid_PG=torch.ones(2, 4, dtype=torch.bool),
        dead_P=torch.zeros(2, dtype=torch.bool),
    )
    found = build(PruneConfig(keep=1))(rollout_of(rewards), scores_of(rewards), advantages)
    assert found.rows == ((0, 0), (1, 1))


# -------------------------------------------------- scores, dead questions, scopes


@pytest.mark.parametrize("metric", ["smallest", "largest", "random", "smallest-raw", "largest-raw"])
@pytest.mark.parametrize("scope", ["question", "global"])
def test_completions_without_a_score_go_first(select, metric, scope):
    rewards = [[None, 1.0, None, 0.0, 2.0, None, 0.5, None]]
    found = {g for _, g in select(rewards, metric=metric, scope=scope, keep=4).rows}
    assert found == {1, 3, 4, 6}
    assert len(select(rewards, metric=metric, scope=scope, keep=6).rows) == 6


DEAD = [[3.0] * 4, [0.0, 3.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("settings", "rows", "denominator"),
    [
        ({}, [(0, 0), (0, 1), (1, 0), (1, 1)], 4),
        ({"normalise": "group"}, [(0, 0), (0, 1), (1, 0), (1, 1)], 8),
        ({"drop_dead": True}, [(1, 0), (1, 1)], 2),
        ({"drop_dead": True, "normalise": "group"}, [(1, 0), (1, 1)], 4),
        ({"scope": "device"}, [(1, 0), (1, 1), (1, 2), (1, 3)], 4),
        ({"scope": "device", "drop_dead": True}, [(1, 0), (1, 1), (1, 2), (1, 3)], 4),
        ({"scope": "device", "rate": 0.25}, [(0, 0), (0, 1), *((1, g) for g in range(4))], 6),
        ({"scope": "device", "rate": 0.25, "drop_dead": True}, [(1, g) for g in range(4)], 4),
        ({"metric": "threshold", "gamma": 1.0}, [(1, 1)], 1),
        ({"metric": "threshold", "gamma": 1.0, "normalise": "group"}, [(1, 1)], 8),
        ({"metric": "threshold", "gamma": 9.0}, [], 0),
        ({"metric": "threshold", "gamma": 0.0}, [(p, g) for p in (0, 1) for g in range(4)], 8),
    ],
)
def test_dead_questions_thresholds_and_denominators(select, settings, rows, denominator):
    found = select(DEAD, **settings)
    assert list(found.rows) == rows
    assert found.weights == (1.0,) * len(rows)
    assert found.denominator == denominator


def test_without_divergence_dead_rows_stay_in_the_denominator_only(select):
    found = select(DEAD, beta=0.0)
    assert found.rows == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert found.weights == (0.0, 0.0, 1.0, 1.0)
    assert found.denominator == 4


def test_nothing_but_dead_questions(select):
    assert select([[1.0] * 4] * 2, drop_dead=True).rows == ()
    assert len(select([[1.0] * 4] * 2).rows) == 4
    assert select([[None] * 4] * 2, metric="threshold", gamma=0.0).rows == ()


def test_scopes_agree_on_one_question(select):
    for seed in range(20):
        rewards = draw(seed, prompts=1)
        scopes = ("question", "device", "global")
        assert len({select(rewards, rate=0.5, scope=scope).rows for scope in scopes}) == 1


def test_each_device_ranks_its_own_questions(select):
    """As the authors' code on several devices: the same rule on each run of questions."""
    differs = 0
    for seed in range(20):
        rewards = draw(seed, prompts=6)
        found = select(rewards, rate=0.75, scope="device", devices=3).rows
        expected = [
            (2 * device + p, g)
            for device in range(3)
            for p, g in select(rewards[2 * device : 2 * device + 2], rate=0.75, scope="device").rows
        ]
        assert list(found) == expected
        differs += found != select(rewards, rate=0.75, scope="device").rows
    assert differs > 10
    each = select(rewards, rate=0.75, scope="device", devices=6).rows
    assert each == select(rewards, rate=0.75).rows


def test_questions_that_cannot_be_dealt_are_refused(select):
    with pytest.raises(GrpokitError, match="5 questions cannot be dealt to 2 devices") as caught:
        select(draw(0), scope="device", devices=2)
    assert caught.value.place == "algorithm.with.devices"


def test_rewards_on_another_scale_select_the_same(select):
    for seed in range(20):
        rewards = draw(seed)
        scaled = [[10 * reward - 3 for reward in row] for row in rewards]
        assert select(rewards, rate=0.75).rows == select(scaled, rate=0.75).rows

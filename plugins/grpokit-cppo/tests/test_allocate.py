"""Dynamic completion allocation: fixed as in the authors' code, and the refill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from grpokit.api import ComponentError, Gathered, GrpokitError
from grpokit.compose.asked import as_asked
from grpokit.compose.draft import Draft
from grpokit.compose.load import load_recipe
from grpokit.errors import RecipeError
from grpokit.registry.catalog import Catalog
from grpokit_cppo.algorithm import build
from grpokit_cppo.allocate import Allocate
from grpokit_cppo.config import AllocationConfig, CppoConfig

LIVE, DEAD = [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]


@pytest.fixture
def gathered(rollout_of, scores_of, advantages_of):
    def make(rewards: Sequence[Sequence[float]], *, rounds: int = 1, wanted: int = 1) -> Gathered:
        return Gathered(
            rollout=rollout_of(rewards),
            scores=scores_of(rewards),
            advantages=advantages_of(rewards),
            wanted=wanted,
            rounds=rounds,
        )

    return make


def part(**settings: Any) -> Allocate:
    return Allocate(config=AllocationConfig(**settings))


@pytest.mark.parametrize(
    ("rate", "gsm8k", "maths"),
    [(0.0, 1, 3), (0.5, 2, 6), (0.75, 4, 12), (0.875, 8, 24), (0.9375, 16, 48)],
)
def test_questions_a_step_are_those_of_the_authors_table(rate, gsm8k, maths) -> None:
    """cppo.md 2.1: Q of a generation batch with one and with three training devices."""
    assert part(rate=rate).first(1) == gsm8k
    assert part(rate=rate).first(3) == maths


@pytest.mark.parametrize(("rate", "questions"), [(0.95, 20), (0.9, 10), (0.8, 5)])
def test_what_truncation_gets_wrong(rate: float, questions: int) -> None:
    """``int(1 / (1 - .95))`` is 19."""
    assert part(rate=rate).first(1) == questions


def test_a_rate_that_makes_no_whole_number_is_refused_with_one_that_does() -> None:
    with pytest.raises(ComponentError, match=r"rate 0.3 makes 1.42857 questions.*set rate to 0"):
        part(rate=0.3).first(1)
    assert part(rate=0.25).first(3) == 4
    fact = CppoConfig(rate=0.25, allocation="fixed").misfit(prompts=2, group=4)
    assert fact is not None
    assert "2.66667 questions" in fact[1]
    assert CppoConfig(rate=0.25, allocation="fixed").misfit(prompts=3, group=4) is None
    assert CppoConfig(rate=0.25).misfit(prompts=2, group=4) is None


def test_fixed_takes_what_comes(gathered) -> None:
    allocation = part(rate=0.5)(gathered([LIVE, DEAD]))
    assert (allocation.keep, allocation.more) == ((0, 1), 0)


def test_refill_asks_for_as_many_as_are_missing(gathered) -> None:
    refill = part(rate=0.75, mode="refill")
    assert refill(gathered([LIVE, DEAD, DEAD, LIVE])).more == 2
    full = refill(gathered([LIVE, DEAD, DEAD, LIVE, DEAD, LIVE], rounds=2))
    assert full.more == 1
    full = refill(gathered([LIVE, DEAD, DEAD, LIVE, DEAD, LIVE, LIVE], rounds=3))
    assert (full.keep, full.more) == ((0, 3, 5, 6), 0)


def test_surplus_is_left_out_in_order(gathered) -> None:
    allocation = part(rate=0.5, mode="refill")(gathered([DEAD, LIVE, LIVE, LIVE]))
    assert allocation.keep == (1, 2)


def test_the_bound(gathered) -> None:
    short = gathered([LIVE, DEAD, LIVE, LIVE], rounds=3)
    assert part(rate=0.75, mode="refill", max_rounds=3)(short).keep == (0, 2, 3)
    assert part(rate=0.75, mode="refill", max_rounds=3, devices=2)(short).keep == (0, 2)
    assert part(rate=0.75, mode="refill", max_rounds=4)(short).more == 1
    with pytest.raises(GrpokitError, match=r"3 rounds 3 of 4 questions have a signal; 4 are"):
        part(rate=0.75, mode="refill", max_rounds=3, on_bound="error")(short)
    nothing = gathered([DEAD, DEAD, DEAD], rounds=2)
    assert part(rate=0.5, mode="refill", max_rounds=2)(nothing).keep == (0, 1)


def test_the_algorithm_prunes_what_the_allocation_left(rollout_of, scores_of, gathered) -> None:
    """Four questions with one completion each fill the places of one question with four."""
    algorithm: Any = build(CppoConfig(rate=0.75, allocation="refill"))
    assert algorithm.first(1) == 4
    rewards = [LIVE, LIVE, LIVE, LIVE]
    whole = gathered(rewards)
    assert algorithm.allocate(whole).keep == (0, 1, 2, 3)
    selection = algorithm.select(whole.rollout, whole.scores, whole.advantages)
    assert selection.rows == ((0, 0), (1, 0), (2, 0), (3, 0))
    assert build(CppoConfig(rate=0.75)).first(1) == 1


@pytest.mark.parametrize("settings", [{"keep": 2}, {"metric": "threshold", "gamma": 1.0}])
def test_allocation_needs_a_rate(settings) -> None:
    with pytest.raises(ValidationError, match="allocation counts in rate"):
        CppoConfig(allocation="fixed", **settings)


def test_the_plan_hears_of_the_questions() -> None:
    assert CppoConfig(rate=0.875, allocation="fixed").asks(prompts=2, max_tokens=7) == (16, 7)
    assert CppoConfig(rate=0.875).asks(prompts=2, max_tokens=7) == (2, 7)


def test_settings_of_the_part_and_of_the_algorithm_agree() -> None:
    config = CppoConfig(rate=0.75, allocation="refill", max_rounds=3, on_bound="error")
    assert config.allocating() == AllocationConfig(
        rate=0.75, mode="refill", max_rounds=3, on_bound="error"
    )
    assert replace(part(), place="x").place == "x"


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ([], 8),
        (["algorithm.with.allocation=refill"], 16),
        (["algorithm.parts.allocate={use: cppo/allocate, with: {rate: 0.75}}"], 32),
        (["algorithm.with.allocation=fixed", "algorithm.parts.allocate={use: fixed}"], 8),
    ],
)
def test_the_plan_counts_the_questions_that_are_asked(changes, asked) -> None:
    catalog = Catalog.load()
    loaded = load_recipe("cppo/arithmetic", overrides=changes, catalog=catalog)
    assert as_asked(loaded.recipe, catalog).rollout.prompts == asked
    numbers = Draft(loaded, catalog).finish().arithmetic
    assert numbers.prompts_per_step == asked
    assert numbers.completions_per_step == 8 * asked


def test_a_rate_that_fills_no_step_is_refused_before_the_run() -> None:
    changes = ["algorithm.with.allocation=fixed", "algorithm.with.rate=0.25", "rollout.prompts=4"]
    with pytest.raises(RecipeError) as refused:
        load_recipe("cppo/arithmetic", overrides=changes, catalog=Catalog.load())
    assert any(
        "R622" in str(line) and "5.33333 questions" in str(line) for line in refused.value.problems
    )

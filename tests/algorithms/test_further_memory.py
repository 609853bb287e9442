"""Parts that remember the steps before, and settings of all that are further than GRPO."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from grpokit.algorithms.adaptive_entropy import AdaptiveEntropy
from grpokit.algorithms.lengthwise_config import (
    AdaptiveFilterConfig,
    GfpoConfig,
)
from grpokit.algorithms.quantile_config import QrpoConfig
from grpokit.algorithms.remember_config import AdaptiveEntropyConfig, ProlongConfig
from grpokit.algorithms.reset import Prolong
from grpokit.algorithms.step_parts import prolong
from grpokit.algorithms.token_config import ClipCovConfig
from grpokit.spec.flow import Outcome, Resets
from remembering import assert_goes_on, outcome


def resets(part: Prolong, outcomes: Sequence[Outcome]) -> list[int]:
    """Steps before whose update the part resets."""
    found = []
    for one in outcomes:
        if part(one.step) != Resets():
            assert part(one.step) == Resets(reference=True, optimizer=True)
            found.append(one.step)
        part.observe(one)
    return found


def test_nothing_is_reset_without_a_condition():
    part = prolong(ProlongConfig())
    assert resets(part, [outcome(step, reward=0.0, kl=9.0) for step in range(1, 60)]) == []


def test_a_reset_every_so_many_steps():
    part = Prolong(every=3)
    assert resets(part, [outcome(step) for step in range(1, 12)]) == [4, 7, 10]


def test_a_reset_when_the_divergence_dominates():
    """The mean of the last two steps, both since the last reset."""
    kls = [0.1, 0.9, 0.2, 0.1, 2.0, 2.0, 0.3, 2.0]
    part = Prolong(kl_above=0.5, window=2)
    assert part.needs_reference
    found = resets(part, [outcome(step, kl=kl) for step, kl in enumerate(kls, 1)])
    assert found == [
        4,
        6,
        8,
    ]  # not 3: (.1 + .9) / 2 is not above; nor 5, 7: one step since the last
    part = Prolong(kl_above=0.5, window=2)
    assert resets(part, [outcome(1, kl=9.0), outcome(2), outcome(3, kl=9.0), outcome(4)]) == [4]


def test_a_reset_when_the_reward_stagnates():
    rewards = [0.1, 0.2, 0.2, 0.1, 0.15, 0.25, 0.05, 0.06, 0.07, 0.05]
    outcomes = [outcome(step, reward=reward) for step, reward in enumerate(rewards, 1)]
    assert resets(Prolong(patience=3), outcomes) == [6, 10]
    assert resets(Prolong(patience=2), outcomes) == [5, 9]
    assert resets(Prolong(patience=3, min_gain=0.2), outcomes) == [5, 9]
    assert resets(Prolong(patience=2), [outcome(step) for step in range(1, 20)]) == []


def test_resets_go_on_from_their_state():
    lot = random.Random(2)
    outcomes = [outcome(step, reward=lot.random(), kl=lot.random()) for step in range(1, 16)]

    def probe(part: Prolong) -> Any:
        return part(1), part.steps, part.stale, part.best

    answers = assert_goes_on(
        lambda: Prolong(every=6, kl_above=0.6, window=3, patience=3), outcomes, probe
    )
    assert 2 < sum(answer[0].reference for answer in answers) < 10


def test_the_bonus_acts_at_or_below_the_target_only():
    part = AdaptiveEntropy(target=1.0, delta=0.25, high=0.5)
    applied = []
    for value in (None, 2.0, 1.0, 0.5, 0.2, 3.0, 0.9, math.nan):
        applied.append(part.applied)
        part.observe(outcome() if value is None else outcome(entropy=value))
    assert applied == [0.0, 0.0, 0.0, 0.25, 0.5, 0.5, 0.0, 0.5]
    assert part.applied == 0.5


def test_the_bonus_goes_on_from_its_state():
    lot = random.Random(3)
    outcomes = [outcome(step, entropy=lot.random()) for step in range(1, 12)]
    answers = assert_goes_on(
        lambda: AdaptiveEntropy(0.5, 0.01, delta=0.1), outcomes, lambda part: part.applied
    )
    assert len(set(answers)) > 3


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (AdaptiveEntropyConfig, {"coefficient": 2.0}, "must lie between"),
        (ClipCovConfig, {"low": 5.0, "high": 1.0}, "must be below high"),
        (AdaptiveFilterConfig, {"shares": [0.5, 0.5, 0.0, 0.2]}, "at most 1"),
        (AdaptiveFilterConfig, {"shares": [0.5, 0.5]}, "shares"),
        (QrpoConfig, {"beta": 0.0}, "beta"),
    ],
)
def test_settings_that_make_no_sense(config, settings, message):
    with pytest.raises(ValidationError, match=message):
        config(**settings)


def test_what_settings_need_of_a_backend():
    assert GfpoConfig().needs() == {"reference", "entropy"}
    assert GfpoConfig(beta=0, entropy_coef=0).needs() == frozenset()
    assert QrpoConfig().needs() == {"reference"}
    assert ProlongConfig().needs() == frozenset()
    assert ProlongConfig(kl_above=1.0).needs() == {"reference"}

"""When the canary speaks, on numbers; no vLLM."""

from __future__ import annotations

import pytest
import torch

from grpokit.api import GrpokitError
from grpokit_hf.vllm.canary import Canary, noise_floor

BASE = [-1.0, -0.5, -2.0, -0.1]


def near(values: list[float], by: float) -> list[float]:
    """Another engine's values: alternately larger and smaller."""
    return [value + by * (-1) ** place for place, value in enumerate(values)]


def moved(values: list[float], by: float) -> list[float]:
    return [value - by for value in values]


@pytest.fixture
def canary() -> Canary:
    found = Canary(tolerance=0.1, floor=noise_floor(torch.bfloat16))
    found.open(near(BASE, 0.01), BASE)
    return found


def test_the_floor_is_lower_in_float32() -> None:
    assert noise_floor(torch.float32) < noise_floor(torch.bfloat16)


def test_an_engine_that_follows_is_never_blamed(canary: Canary) -> None:
    trainer = BASE
    for version in range(1, 60):
        trainer = moved(trainer, 0.013 if version % 3 else -0.02)
        canary.check(near(trainer, 0.015 if version % 2 else -0.015), trainer, version)


def test_an_engine_that_stands_still_is_caught_once_the_steps_add_up(canary: Canary) -> None:
    """Each step is smaller than the noise; here the engine's rounding even changes a little."""
    for version in range(1, 6):
        canary.check(near(BASE, 0.01 + 1e-4 * version), moved(BASE, 0.005 * version), version)
    with pytest.raises(GrpokitError, match="did not reach vLLM"):
        canary.check(near(BASE, 0.011), moved(BASE, 0.005 * 19), 19)


def test_more_rounding_than_at_first_is_no_alarm(canary: Canary) -> None:
    """The noise was taken from one look; an engine that is off by more is not one that stands still."""
    for version in range(1, 20):
        trainer = moved(BASE, 0.004 * version)
        canary.check(near(trainer, 0.08), trainer, version)


def test_bitwise_equal_answers_are_caught_sooner(canary: Canary) -> None:
    with pytest.raises(GrpokitError, match="version 1 of the weights did not reach vLLM"):
        canary.check(near(BASE, 0.01), moved(BASE, 0.01), 1)


def test_an_engine_that_stops_following_is_compared_with_the_last_look_too(canary: Canary) -> None:
    trainer = moved(BASE, 0.03)
    canary.check(near(trainer, 0.01), trainer, 1)
    with pytest.raises(GrpokitError, match="version 2 of the weights did not reach vLLM"):
        canary.check(near(trainer, 0.01), moved(trainer, 0.01), 2)


def test_an_adapter_of_zeros_is_no_alarm(canary: Canary) -> None:
    canary.check(near(BASE, 0.01), BASE, 1)
    canary.check(near(BASE, 0.01), moved(BASE, 1e-6), 2)


def test_tokens_that_nobody_would_draw_say_nothing(canary: Canary) -> None:
    """In bfloat16 a log-prob of -20 is off by whole nats."""
    seldom = [-1.0, -0.5, -20.0, -14.0]
    canary.open(seldom, [-1.01, -0.49, -17.0, -19.0])
    canary.check([-1.0, -0.5, -24.0, -14.0], [-1.0, -0.5, -19.0, -17.0], 1)


def test_an_adapter_that_is_ignored_from_the_start() -> None:
    """A resumed run or an evaluation: the adapter moved far from the base model already."""
    found = Canary(tolerance=0.1, floor=0.02)
    with pytest.raises(GrpokitError, match="the adapter did not reach vLLM"):
        found.open(near(BASE, 0.01), moved(BASE, 0.5), BASE)


def test_two_models_that_differ() -> None:
    found = Canary(tolerance=0.1, floor=0.02)
    with pytest.raises(GrpokitError, match=r"do not compute the same model: .* 0\.5 nats"):
        found.open(near(BASE, 0.5), BASE)


def test_an_adapter_applied_twice(canary: Canary) -> None:
    """The engine moves, but too far."""
    with pytest.raises(GrpokitError, match=r"differ from the trainer's by 0\.4"):
        canary.check(moved(BASE, 0.8), moved(BASE, 0.4), 1)


def test_an_ignored_adapter_within_the_tolerance() -> None:
    """A resumed run whose adapter has not moved far yet: the gap is no rounding, it is the adapter."""
    found = Canary(tolerance=0.3, floor=0.02)
    with pytest.raises(GrpokitError, match="the adapter did not reach vLLM"):
        found.open(near(BASE, 0.01), moved(BASE, 0.2), BASE)


def test_a_small_adapter_under_much_rounding_is_no_alarm() -> None:
    found = Canary(tolerance=0.3, floor=0.02)
    found.open(near(BASE, 0.15), moved(BASE, 0.02), BASE)
    assert found.noise == pytest.approx(0.15)


def test_much_rounding_at_first_does_not_hide_an_engine_that_stands_still() -> None:
    found = Canary(tolerance=0.3, floor=0.02)
    found.open(near(BASE, 0.25), BASE)
    with pytest.raises(GrpokitError, match="version 1 of the weights did not reach vLLM"):
        found.check(near(BASE, 0.25), moved(BASE, 0.02), 1)


def test_another_sequence_is_taken_only_after_the_engine_was_seen_to_follow(canary: Canary) -> None:
    """Else small steps that have not added up yet would be forgotten with the old one."""
    canary.check(near(moved(BASE, 0.1), 0.01), moved(BASE, 0.1), 1)
    assert not canary.followed
    canary.check(near(moved(BASE, 0.2), 0.01), moved(BASE, 0.2), 2)
    assert canary.followed
    canary.open(near(BASE, 0.01), BASE)
    assert not canary.followed

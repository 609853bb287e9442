"""Each monitor at its edges: just enough, just not enough, and what must keep it silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fed_diagnoses import SOUND, Value, feed, nothing, only
from grpokit.diagnose.diagnosis import Diagnosis
from grpokit.diagnose.rows import StepRow, own_row


def test_a_sound_run_is_sound() -> None:
    assert nothing(feed(300))


@pytest.mark.parametrize(
    ("name", "number", "below", "warn", "stop"),
    [
        ("truncation", "truncated", 0.09, 0.1, 0.3),
        ("clipping", "clip_low", 0.19, 0.2, 0.4),
        ("rejected-tokens", "rejected", 0.09, 0.1, 0.5),
        ("abstentions", "abstained", 0.049, 0.05, 0.5),
        ("reward-failures", "failures", 0.0, 1, 32),
    ],
)
def test_levels(name: str, number: str, below: float, warn: float, stop: float) -> None:
    assert nothing(feed(60, **{number: below}))
    warned = only(feed(60, **{number: warn}))
    assert (warned.name, warned.severity, warned.first) == (name, "warn", 1)
    stopped = only(feed(60, **{number: stop}))
    assert (stopped.name, stopped.severity) == (name, "stop")
    assert stopped.value >= stopped.threshold


def test_two_windows_are_needed() -> None:
    """Thirty rows; one window that passes is chance."""
    assert nothing(feed(29, truncated=0.9))
    assert only(feed(30, truncated=0.9)).name == "truncation"
    assert nothing(feed(100, truncated=lambda step: 0.9 if 40 < step <= 49 else 0.0))


def test_truncation_costs_only_what_was_cut() -> None:
    found = only(feed(40, truncated=lambda step: 0.5 if step > 5 else 0.0))
    assert (found.first, found.last, found.steps) == (6, 40, 35)
    assert found.wasted == 35 * 32


def test_truncation_of_a_run_that_learns_needs_more() -> None:
    def reward(step: int) -> float:
        return min(0.1 + 0.01 * step, 0.7)

    assert nothing(feed(100, truncated=lambda step: 0.45 if step > 40 else 0.0, reward=reward))
    found = only(feed(100, truncated=lambda step: 0.6 if step > 40 else 0.0, reward=reward))
    assert (found.name, found.severity) == ("truncation", "warn")


def test_three_steps_without_any_reward_are_enough() -> None:
    def run(from_step: int) -> Diagnosis:
        return feed(
            12,
            reward=lambda step: None if step >= from_step else 0.3,
            abstained=lambda step: 1.0 if step >= from_step else 0.0,
            failures=lambda step: 64 if step >= from_step else 0,
        )

    assert nothing(run(11))
    found = only(run(10))
    assert (found.name, found.severity, found.first) == ("reward-failures", "stop", 10)


def test_a_reward_of_nan_is_a_failure() -> None:
    diagnosis = Diagnosis()
    for step in range(1, 4):
        diagnosis.add(StepRow(step=step, values={}, odd=frozenset({"reward"})))
    assert only(diagnosis).name == "reward-failures"


def test_steps_that_draw_nothing_are_no_interruption() -> None:
    """TRL takes several updates with one batch of completions; only its first row has rewards."""
    diagnosis = Diagnosis()
    for step in range(1, 10):
        odd = frozenset({"reward"}) if step % 4 == 1 else frozenset()
        diagnosis.add(StepRow(step=step, values={"entropy": 1.0}, odd=odd))
    found = only(diagnosis)
    assert (found.name, found.first, found.last) == ("reward-failures", 1, 9)


def test_an_evaluation_between_does_not_hide_it() -> None:
    diagnosis = Diagnosis()
    for step in range(1, 4):
        diagnosis.add(StepRow(step=step, values={}, odd=frozenset({"reward"})))
        diagnosis.add(StepRow(step=step, values={"held_out": 0.2}))
    assert only(diagnosis).name == "reward-failures"


def test_a_gradient_that_is_not_finite() -> None:
    assert nothing(feed(40, skipped_steps=lambda step: float(step % 3 != 0)))
    found = only(feed(40, skipped_steps=lambda step: float(step > 37)))
    assert (found.name, found.severity, found.first) == ("gradient-not-finite", "stop", 38)
    assert only(feed(10, grad_norm=lambda step: None if step > 7 else 0.2)).name == found.name


def test_one_reward_for_all() -> None:
    constant = {"reward": 0.1, "reward_std": 0.0, "dead_groups": 1.0, "dead_groups_high": 1.0}
    found = only(feed(60, **constant))
    assert (found.name, found.severity, found.value, found.first) == (
        "constant-reward",
        "stop",
        0.1,
        1,
    )
    assert found.wasted == 60 * 64


def test_a_step_that_differs_is_no_constant() -> None:
    levels = {"reward_std": 0.0, "reward": lambda step: 0.1 * (step % 2)}
    assert nothing(feed(60, **levels))


def test_a_solved_run_with_one_reward_for_all_is_only_solved() -> None:
    right = {
        "reward": lambda step: 0.2 if step < 10 else 1.0,
        "reward_std": lambda step: 0.4 if step < 10 else 0.0,
        "dead_groups": lambda step: 0.2 if step < 10 else 1.0,
        "dead_groups_high": lambda step: 0.0 if step < 10 else 1.0,
    }
    found = only(feed(80, **right))
    assert (found.name, found.severity) == ("solved", "note")


def components(mean: Value, std: Value) -> dict[str, Value]:
    return {
        "rewards__number__mean": 0.3,
        "rewards__number__std": 0.4,
        "rewards__format__mean": mean,
        "rewards__format__std": std,
    }


def test_a_component_that_never_varies() -> None:
    found = only(feed(40, **components(0.0, 0.0)))
    assert (found.name, found.subject, found.severity) == ("constant-component", "format", "warn")
    assert nothing(feed(40, **components(0.0, lambda step: 0.02 if step == 15 else 0.0)))


def test_a_component_with_full_marks_is_a_note() -> None:
    found = only(feed(40, **components(0.99, 0.01)))
    assert (found.name, found.subject, found.severity) == ("saturated-component", "format", "note")


def test_a_single_reward_is_no_component() -> None:
    assert nothing(feed(40, rewards__number__mean=0.0, rewards__number__std=0.0))


def test_frozen_weights() -> None:
    assert nothing(feed(40, grad_norm=lambda step: 0.0 if step % 6 == 0 else 0.2))
    warned = only(feed(40, grad_norm=lambda step: 0.0 if step % 2 else 0.2))
    assert (warned.name, warned.severity) == ("frozen-weights", "warn")
    assert only(feed(40, grad_norm=0.0)).severity == "stop"


@pytest.mark.parametrize(
    "idle", [{"dead_groups": 1.0, "dead_groups_high": 0.5}, {"optimizer_steps": 0}]
)
def test_no_gradient_without_a_live_group_is_right(idle: dict[str, float]) -> None:
    found = {each.name for each in feed(40, grad_norm=0.0, **idle).findings()}
    assert "frozen-weights" not in found


def test_groups_that_are_all_wrong() -> None:
    assert nothing(feed(80, dead_groups=0.59))
    assert only(feed(80, dead_groups=0.61)).severity == "warn"
    assert only(feed(48, dead_groups=0.95)).severity == "warn"
    found = only(feed(60, dead_groups=0.95))
    assert (found.name, found.severity, found.first) == ("dead-groups-wrong", "stop", 1)
    assert found.wasted == round(60 * 64 * 0.95)


def test_a_reward_that_climbs_out_of_dead_groups_is_left_alone() -> None:
    assert nothing(feed(80, dead_groups=0.7, reward=lambda step: 0.05 + 0.002 * step))


def test_dead_at_the_top_of_a_step_is_right_only_as_far_as_answers_are() -> None:
    """Where no answer of a step is right, groups with the format's reward are its highest."""
    wrong = {"dead_groups": 0.95, "dead_groups_high": 0.95, "reward": 0.1}
    diagnosis = feed(80, **wrong, **components(1.0, 0.0) | {"rewards__number__mean": 0.004})
    assert "dead-groups-wrong" in {each.name for each in diagnosis.findings()}


def test_groups_that_were_right_from_the_start() -> None:
    right = {"dead_groups": 0.8, "dead_groups_high": 0.8, "reward": 0.95}
    found = only(feed(40, **right))
    assert (found.name, found.severity) == ("dead-groups-right", "warn")
    grave = {**right, "dead_groups": 0.94, "dead_groups_high": 0.94}
    assert only(feed(60, **grave)).severity == "stop"


def test_where_nobody_counts_the_high_ones_they_are_estimated() -> None:
    """TRL's log. A mean of 0.9 with 0.8 dead leaves 0.1 for the live groups."""
    easy = feed(40, dead_groups=0.8, dead_groups_high=None, reward=0.9)
    assert only(easy).name == "dead-groups-right"
    hard = feed(40, dead_groups=0.8, dead_groups_high=None, reward=0.1)
    assert only(hard).name == "dead-groups-wrong"


def falling(to: float, at: int = 60) -> Callable[[int], float]:
    return lambda step: 1.0 if step < at else max(to, 1.0 - 0.1 * (step - at))


def test_entropy_that_is_lost_for_nothing() -> None:
    assert nothing(feed(150, entropy=falling(0.31)))
    warned = only(feed(150, entropy=falling(0.29)))
    assert (warned.name, warned.severity) == ("entropy-collapse", "warn")
    stopped = only(feed(150, entropy=falling(0.05)))
    assert stopped.severity == "stop"
    assert 67 <= stopped.first <= 70


def test_entropy_that_buys_reward_is_well_spent() -> None:
    assert nothing(feed(150, entropy=falling(0.05), reward=lambda s: 0.3 if s < 62 else 0.37))


def test_entropy_that_dissolves() -> None:
    doubled: dict[str, Value] = {"entropy": lambda step: 1.0 if step < 40 else 2.1}
    assert nothing(feed(120, **doubled))
    found = only(feed(120, **doubled, reward=lambda step: 0.3 if step < 40 else 0.2))
    assert (found.name, found.severity) == ("entropy-explosion", "warn")


def test_divergence() -> None:
    assert nothing(feed(120, kl=lambda step: 0.01 if step < 40 else 0.49))
    assert nothing(feed(120, kl=lambda step: 0.1 if step < 40 else 0.79))
    warned = only(feed(120, kl=lambda step: 0.01 if step < 40 else 0.5))
    assert (warned.name, warned.severity, warned.first) == ("kl-blow-up", "warn", 40)
    assert only(feed(120, kl=lambda step: 0.01 if step < 40 else 2.0)).severity == "stop"
    assert nothing(feed(60, kl=1.9))
    assert only(feed(60, kl=2.0)).severity == "stop"
    gain = {"reward": lambda step: 0.3 if step < 40 else 0.6}
    assert only(feed(120, kl=lambda step: 0.01 if step < 40 else 2.0, **gain)).severity == "warn"


def test_the_samplers_gap() -> None:
    assert nothing(feed(120, sampler_gap=0.03))
    assert only(feed(120, sampler_gap=0.05)).severity == "warn"
    assert only(feed(120, sampler_gap=0.1)).severity == "stop"
    assert (
        only(feed(120, sampler_gap=lambda step: 0.005 if step < 40 else 0.021)).severity == "warn"
    )
    assert nothing(feed(120, sampler_gap=lambda step: 0.01 if step < 40 else 0.021))


def test_repeats_count_only_where_there_was_a_choice() -> None:
    """Six nats a completion: 0.6 a token, ten tokens."""
    found = only(feed(40, duplicates=0.4, entropy=0.6))
    assert (found.name, found.severity) == ("duplicates", "warn")
    assert nothing(feed(40, duplicates=0.9, entropy=0.59))
    assert nothing(feed(40, duplicates=0.34))


def test_a_reward_that_falls() -> None:
    assert nothing(feed(120, reward=lambda step: 0.8 if step < 60 else 0.55))
    found = only(feed(120, reward=lambda step: 0.8 if step < 60 else 0.5))
    assert (found.name, found.severity, found.first) == ("reward-drop", "warn", 60)


def test_a_finding_is_said_once_in_fifty_steps_and_again_when_graver() -> None:
    diagnosis = Diagnosis()
    said = []
    for step in range(1, 161):
        cut = 0.2 if step < 100 else 0.5
        row = own_row({**SOUND, "step": step, "reward": 0.3, "truncated": cut})
        told = (each for each in diagnosis.add(row) if each.name == "truncation")
        said += [(step, each.severity) for each in told]
    assert said == [(30, "warn"), (80, "warn"), (120, "stop")]
    assert only(diagnosis).first == 1


def test_a_number_that_is_no_longer_written_says_nothing() -> None:
    diagnosis = feed(120, truncated=lambda step: 0.9 if step <= 25 else None)
    assert nothing(diagnosis)


def test_numbers_that_come_every_fourth_row_have_windows_too() -> None:
    assert (
        only(feed(120, truncated=lambda step: 0.9 if step % 4 == 0 else None)).name == "truncation"
    )


def test_rows_of_another_scale() -> None:
    """A reward of ten: half a unit is no gain, and a tenth of its scale is none either."""
    found = only(feed(150, entropy=falling(0.05), reward=lambda s: 10.0 if s < 62 else 10.3))
    assert found.name == "entropy-collapse"

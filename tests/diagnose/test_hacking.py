"""Rewards that rise for the wrong reason, and those that rise for the right one."""

from __future__ import annotations

from collections.abc import Callable

from fed_diagnoses import SOUND, Value, feed, nothing, only
from grpokit.diagnose.diagnosis import Diagnosis
from grpokit.diagnose.rows import own_row, trl_row


def farming(accuracy: Value, formatted: Value) -> dict[str, Value]:
    return {
        "rewards__number__mean": accuracy,
        "rewards__number__std": 0.4,
        "rewards__format__mean": formatted,
        "rewards__format__std": 0.3,
    }


def rise(low: float, high: float) -> Callable[[int], float]:
    return lambda step: low if step <= 30 else high


def test_a_format_that_is_farmed() -> None:
    found = only(feed(200, **farming(0.2, rise(0.2, 0.51))))
    assert (found.name, found.subject, found.first) == ("format-farming", "format", 31)
    assert nothing(feed(200, **farming(0.2, rise(0.2, 0.49))))
    assert nothing(feed(115, **farming(0.2, rise(0.2, 0.51))))
    assert nothing(feed(200, **farming(lambda step: 0.2 + 0.0005 * step, rise(0.2, 0.9))))
    assert nothing(feed(200, **farming(0.9, rise(0.2, 0.9))))


def test_which_reward_counts_can_be_said() -> None:
    turned = farming(rise(0.2, 0.6), 0.5)
    assert nothing(feed(200, **turned))
    assert only(feed(200, goal="format", **turned)).subject == "number"


def grown(by: float) -> Callable[[int], float]:
    return lambda step: 10.0 if step <= 30 else 10.0 * by


def test_a_reward_that_is_earned_by_length() -> None:
    found = only(feed(100, length__mean=grown(1.6), length_reward=0.7))
    assert (found.name, found.severity) == ("length-hacking", "warn")
    assert nothing(feed(100, length__mean=grown(1.4), length_reward=0.7))
    assert nothing(feed(100, length__mean=grown(1.6), length_reward=0.5))
    assert nothing(feed(100, length__mean=grown(1.6)))


def test_length_that_comes_with_better_answers() -> None:
    better = farming(lambda step: 0.2 if step <= 30 else 0.3, 0.5)
    assert nothing(feed(100, length__mean=grown(1.6), length_reward=0.9, **better))


def evaluated(train: Callable[[int], float], held_out: Callable[[int], float]) -> Diagnosis:
    diagnosis = Diagnosis()
    for step in range(1, 151):
        diagnosis.add(own_row({**SOUND, "step": step, "reward": train(step)}))
        if step % 25 == 0:
            diagnosis.add(own_row({"step": step, "accuracy": held_out(step)}))
    return diagnosis


def test_a_reward_that_rises_only_in_training() -> None:
    def train(step: int) -> float:
        return 0.3 + 0.004 * step

    assert nothing(evaluated(train, lambda step: 0.3 + 0.003 * step))
    warned = only(evaluated(train, lambda step: 0.4))
    assert (warned.name, warned.severity) == ("over-fitting", "warn")
    assert only(evaluated(train, lambda step: 0.5 - 0.002 * step)).severity == "stop"


def test_the_log_of_trl_has_totals_of_evaluations() -> None:
    diagnosis = Diagnosis()
    for step in range(1, 151):
        diagnosis.add(trl_row({"step": step, "reward": 0.3 + 0.004 * step, "grad_norm": 0.2}))
        if step % 25 == 0:
            diagnosis.add(trl_row({"step": step, "eval_reward": 0.4, "eval_loss": 0.0}))
    assert only(diagnosis).name == "over-fitting"

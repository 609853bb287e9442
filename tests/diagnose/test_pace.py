"""Time, gradients that jump, and a reward that stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fed_diagnoses import SOUND, nothing, only
from fed_diagnoses import feed as fed
from grpokit.diagnose.diagnosis import Diagnosis
from grpokit.diagnose.rows import own_row

Value = Callable[[int], float]


def timed(rows: int, *, generate: Value, score: Value, **changes: Any) -> Diagnosis:
    diagnosis = Diagnosis()
    for step in range(1, rows + 1):
        drawn, scored = generate(step), score(step)
        seconds = {"generate": drawn, "score": scored, "total": drawn + scored + 1.0}
        row = {**SOUND, "step": step, "reward": 0.3, "length/max": 20, **changes}
        row |= {name: value(step) for name, value in row.items() if callable(value)}
        diagnosis.add(own_row({**row, "seconds": seconds}))
    return diagnosis


def steady(value: float) -> Value:
    return lambda step: value


def later(before: float, then: float) -> Value:
    return lambda step: before if step < 40 else then


def test_scoring_that_takes_half_of_the_time() -> None:
    assert nothing(timed(60, generate=steady(8.0), score=steady(2.0)))
    note = only(timed(60, generate=steady(4.0), score=steady(2.0)))
    assert (note.name, note.severity) == ("slow-rewards", "note")
    found = only(timed(60, generate=steady(4.0), score=steady(6.0)))
    assert (found.severity, found.value) == ("warn", 6 / 11)
    assert nothing(timed(60, generate=steady(0.1), score=steady(0.9))), "nobody minds a second"


def test_drawing_that_becomes_slower() -> None:
    assert nothing(timed(100, generate=later(1.0, 1.6), score=steady(0.0)))
    found = only(timed(100, generate=later(1.0, 1.7), score=steady(0.0)))
    assert (found.name, found.severity, found.first) == ("slow-generation", "warn", 40)
    more = {"tokens": later(640, 1200), "length/mean": later(10, 19)}
    assert nothing(timed(100, generate=later(1.0, 1.7), score=steady(0.0), **more))
    taller = {"length/max": later(20, 25)}
    assert nothing(timed(100, generate=later(1.0, 1.7), score=steady(0.0), **taller))
    fewer = {"tokens": later(640, 300), "length/mean": later(10, 5)}
    assert nothing(timed(100, generate=later(1.0, 1.0), score=steady(0.0), **fewer))


def test_gradients_that_jump() -> None:
    def jumping(every: int, size: float) -> Value:
        return lambda step: size if step > 120 and step % every == 0 else 0.2 + 0.01 * (step % 3)

    found = only(fed(150, grad_norm=jumping(6, 0.7)))
    assert (found.name, found.value, found.first) == ("gradient-spikes", 0.7, 126)
    assert nothing(fed(150, grad_norm=jumping(6, 0.6))), "less than three times as large"
    assert nothing(fed(150, grad_norm=jumping(10, 5.0))), "three are no habit"
    assert nothing(fed(150, grad_norm=jumping(1, 5.0))), "a range that has moved"


def feed(rows: int, **changes: Any) -> list[str]:
    return [each.name for each in fed(rows, **changes).findings()]


def test_a_reward_that_stands_still() -> None:
    assert feed(145) == []
    assert feed(150) == ["no-learning"]
    assert feed(150, dead_groups=0.5) == []
    assert feed(150, reward=lambda step: 0.3 + 0.0002 * step) == [], "it climbs"
    assert feed(150, reward=lambda step: 0.7 + 0.001 * (step % 7)) == [], "it began near the top"
    assert feed(250, reward=lambda step: 0.3 if step < 40 else 0.36) == [], (
        "it has learned, and is done"
    )

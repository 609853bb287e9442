"""Where the time goes. Sleeps are compared with each other's bounds from below only."""

from __future__ import annotations

import time

import pytest

from grpokit.bench.step.watch import Watch, peak_memory, resident_memory


def test_a_stage_within_a_stage_is_taken_out() -> None:
    watch = Watch()
    watch.begin()
    with watch.stage("forward"):
        time.sleep(0.01)
        with watch.stage("backward"):
            time.sleep(0.02)
            with watch.stage("backward"):
                time.sleep(0.01)
    time.sleep(0.01)
    watch.end()
    (step,) = watch.steps
    assert step["backward"] >= 0.03
    assert step["forward"] >= 0.01
    assert step["other"] >= 0.01
    stages = sum(seconds for name, seconds in step.items() if name != "total")
    assert stages == pytest.approx(step["total"])


def test_time_can_be_moved_and_is_never_below_zero() -> None:
    watch = Watch()
    watch.begin()
    with watch.stage("forward"):
        time.sleep(0.01)
    watch.move("forward", "optimizer", 5.0)
    watch.end()
    assert watch.steps[0]["optimizer"] == 5.0
    assert watch.steps[0]["forward"] == watch.steps[0]["other"] == 0.0


def test_between_steps_nothing_counts() -> None:
    watch = Watch()
    with watch.stage("generate"):
        watch.move("a", "b", 1.0)
    watch.end()
    assert watch.steps == []


def test_a_stage_that_fails_is_closed() -> None:
    watch = Watch()
    watch.begin()
    with pytest.raises(ValueError, match="no"), watch.stage("generate"):
        raise ValueError("no")
    with watch.stage("forward"):
        pass
    watch.end()
    assert set(watch.steps[0]) == {"generate", "forward", "other", "total"}


def test_the_first_gradient_stays_and_unknown_stages_are_named() -> None:
    said: list[str] = []
    watch = Watch(said.append)
    watch.ready()
    for norm in (1.0, 2.0):
        watch.begin()
        with watch.stage("tea"):
            watch.gradient(norm, {"w": [norm]})
            watch.loss(norm)
        watch.end()
    watch.floor(float("nan"))
    found = watch.result()
    assert (found["grad_norm"], found["loss"], found["gradients"]) == (1.0, 1.0, {"w": [1.0]})
    assert found["further_stages"] == ["tea"]
    assert "floor" not in found
    assert said[0] == "loaded"
    assert len(said) == 3


def test_memory_is_read_from_the_kernel() -> None:
    now, most = resident_memory(), peak_memory()
    if now is None or most is None:
        pytest.skip("no /proc here")
    assert 1_000_000 < now <= most

"""Ends, efficiency and equal expense of curves, by numbers that were worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compared_runs import append, compared_run
from grpokit.report.curves import at_equal, curve, efficiency, ending, over_seeds, smoothed
from grpokit.report.points import thinned
from grpokit.report.series import read_series


def test_small_things() -> None:
    assert smoothed([1, 2, 6, 4], 2) == [1, 1.5, 4, 5]
    assert smoothed([1, 2], 1) == [1, 2]
    assert thinned([1, 2, 3, 4, 5], 2) == [1.5, 4]
    assert thinned([1, 2], 9) == [1, 2]
    assert thinned([], 9) == []
    assert over_seeds([0.1, None, 0.3]) == {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 2}
    assert over_seeds([None]) is None


def test_the_end_is_counted_in_steps(tmp_path: Path) -> None:
    """A number of few steps must not tell of times long ago."""
    path = compared_run(tmp_path, "a", steps=100)
    lines = path.joinpath("metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["step"] not in (10, 85, 90):
            del row["entropy"]
    path.joinpath("metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    append(path, '{"step": 50, "accuracy": 0.25}\n', "evals.jsonl")
    run = read_series(path)
    assert ending(run, "reward") == pytest.approx(0.905)
    assert ending(run, "reward", upto=30) == pytest.approx(0.205)
    assert ending(run, "reward", last=1) == 1.0
    assert ending(run, "entropy") == pytest.approx((1 / 85 + 1 / 90) / 2)
    assert ending(run, "entropy", last=1) is None
    assert ending(run, "entropy", upto=80) is None
    assert ending(run, "eval/accuracy") == 0.25
    assert ending(run, "nothing") is None


def test_runs_of_unequal_length(tmp_path: Path) -> None:
    """Both learn a hundredth a step; one stops at step 40, the other is slower in seconds and goes to 60."""
    runs = [
        read_series(compared_run(tmp_path, "short", steps=40, seconds=2.0)),
        read_series(compared_run(tmp_path, "long", steps=60, seconds=4.0)),
    ]
    found = efficiency(runs)
    assert found is not None
    assert found["level"] == pytest.approx(0.38)  # mean of steps 36 to 40
    assert [at["step"] for at in found["reached"]] == [40, 40]
    assert [at["seconds"] for at in found["reached"]] == [80, 160]
    assert [at["completions"] for at in found["reached"]] == [320, 320]
    rows = {row["axis"]: row for row in at_equal(runs)}
    assert (rows["step"]["at"], rows["seconds"]["at"]) == (40, 80)
    assert rows["step"]["values"] == pytest.approx([0.305, 0.305])  # steps 21 to 40
    assert rows["seconds"]["values"] == pytest.approx([0.305, 0.105])  # the other is at step 20


def test_a_lucky_step_at_the_beginning_reaches_nothing(tmp_path: Path) -> None:
    lucky = compared_run(tmp_path, "a", steps=20, reward=lambda step: 1.0 if step == 1 else 0.3)
    plain = compared_run(tmp_path, "b", steps=20, reward=lambda _: 0.3)
    found = efficiency([read_series(lucky), read_series(plain)])
    assert found is not None
    assert [at["step"] for at in found["reached"]] == [5, 5]


def test_a_run_without_a_reward_has_no_efficiency(tmp_path: Path) -> None:
    first, second = compared_run(tmp_path, "a"), compared_run(tmp_path, "b")
    (second / "metrics.jsonl").write_text('{"step": 1, "tokens": 5}\n')
    runs = [read_series(first), read_series(second)]
    assert efficiency(runs) is None
    assert efficiency([]) is None
    assert at_equal(runs)[0] == {"axis": "step", "at": 1.0, "values": [0.01, None]}
    assert curve(runs[1], "reward") == {"steps": [], "values": []}


def test_a_short_curve_of_a_long_run(tmp_path: Path) -> None:
    run = read_series(compared_run(tmp_path, "a", steps=960))
    found = curve(run, "reward")
    assert len(found["steps"]) == len(found["values"]) == 48
    assert found["values"][0] == pytest.approx(0.105)  # steps 1 to 20
    assert found["values"][-1] == pytest.approx(9.505)

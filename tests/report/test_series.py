"""Series of a run: sums, evaluations during training, damage, a run that is being written, a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compared_runs import append, compared_run
from grpokit.errors import RecipeError
from grpokit.report.series import check_metrics, read_series


def test_numbers_and_what_was_spent(tmp_path: Path) -> None:
    run = read_series(compared_run(tmp_path, "a", steps=3, seconds=2.0))
    assert list(run.values("reward")) == [0.01, 0.02, 0.03]
    assert list(run.values("seconds/generate")) == [1.0] * 3
    assert run.points("reward", "completions") == ([8.0, 16.0, 24.0], [0.01, 0.02, 0.03])
    assert run.points("reward", "tokens")[0] == [32.0, 64.0, 96.0]
    assert run.points("reward", "seconds")[0] == [2.0, 4.0, 6.0]
    assert run.spent("seconds", 99) == 6.0
    assert run.spent("seconds", 0) == 0.0
    assert run.spent("nothing", 1) is None  # type: ignore[arg-type]
    assert (run.seed, run.steps, run.damaged) == (1, 3, 0)
    assert list(run.values("nothing")) == []


def test_completions_are_counted_where_no_sum_is_written(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a", steps=1)
    (path / "metrics.jsonl").write_text(
        '{"step": 1, "reward": 0.5, "tokens": 32, "length/mean": 4.0}\n'
        '{"step": 2, "reward": 0.5, "tokens": 40, "length/mean": 4.0}\n'
    )
    run = read_series(path)
    assert run.points("reward", "completions")[0] == [8.0, 18.0]
    assert "seconds" not in run.axes


def test_a_run_that_is_being_written_and_damage(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a", steps=2)
    append(path, '{"step": 3, "rew\n\n[1]\n{"reward": 1}\n\xff\n' + "[" * 100_000 + "\n")
    append(path, '{"step": 4, "reward": 0.5, "entropy": NaN}\n{"step": 5, "reward": 0.6')
    run = read_series(path)
    assert list(run.series["reward"].steps) == [1, 2, 4]
    assert list(run.series["entropy"].steps) == [1, 2]
    assert run.damaged == 5  # the last line is being written


def test_after_a_resume_the_later_lines_count(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a", steps=4)
    append(path, '{"step": 3, "reward": 0.9, "tokens": 10}\n{"step": 4, "reward": 0.8}\n')
    run = read_series(path)
    assert list(run.series["reward"].steps) == [1, 2, 3, 4]
    assert list(run.values("reward")) == [0.01, 0.02, 0.9, 0.8]
    assert run.points("reward", "tokens") == (
        [64.0 - 32.0, 64.0, 74.0, 74.0],
        [0.01, 0.02, 0.9, 0.8],
    )


def test_evaluations_during_training(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a", steps=4)
    rows = [{"step": step, "accuracy": step / 10, "accuracy_low": 0.1} for step in (2, 4, 4)]
    append(path, "".join(json.dumps(row) + "\n" for row in rows), "evals.jsonl")
    run = read_series(path)
    assert run.points("eval/accuracy", "seconds") == ([4.0, 8.0], [0.2, 0.4])
    assert list(run.series["eval/accuracy_low"].steps) == [2, 4]


def test_a_run_without_a_step(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a")
    (path / "metrics.jsonl").unlink()
    (path / "plan.json").write_text("[]")
    run = read_series(path)
    assert (run.steps, run.series, run.plan) == (0, {}, {})


def test_unknown_numbers_are_refused_all_at_once(tmp_path: Path) -> None:
    run = read_series(compared_run(tmp_path, "a", steps=1))
    check_metrics(["reward", "length/mean"], [run])
    with pytest.raises(RecipeError) as error:
        check_metrics(["entropi", "reward", "zzz"], [run])
    assert error.value.problems == (
        "no run has a number 'entropi'; did you mean entropy?",
        "no run has a number 'zzz'",
    )
    assert "completions, dead_groups, entropy," in error.value.remedy

"""A reason to stop ends a run that wants it: saved, diagnosed, resumable, and not for nothing again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from diagnosed_runs import numbered_run, sound_rows
from grpokit.cli.main import main
from grpokit.cli.watching import RunWatch
from grpokit.errors import FindingError
from resume_runs import outcome
from watched_steps import drawn, record

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards: [{{use: contains, with: {{text: a}}}}]
algorithm: {{use: grpo, with: {{beta: 0.1}}}}
rollout: {{prompts: 2, group: 4, max_tokens: 2}}
optim: {{lr: 1.0e-6}}
train: {{steps: 70, save_every: 100, out: runs, show_every: 0, on_finding: {what}}}
"""
QUICKLY = ("--skip-reward-check", "--plain")


def stopped_at(
    first: int, rows: list[dict[str, Any]], before: Path, **told: tuple[str, ...]
) -> tuple[int, str] | None:
    """The step after which a watch that may stop does so, and what it says."""
    watch = RunWatch(before, first, stops=True)
    for row in rows:
        if row["step"] < first:
            continue
        watch.step(record(row), *drawn(*told.get("texts", ("a", "b"))))
        try:
            watch.go_on()
        except FindingError as error:
            return row["step"], error.fact
    return None


def test_it_stops_when_two_windows_say_so_and_only_if_it_may(tmp_path: Path) -> None:
    rows = sound_rows(60, truncated=0.6)
    assert stopped_at(1, rows, tmp_path) == (
        30,
        "stopped at step 30 by truncation (train.on_finding: stop)",
    )
    assert stopped_at(1, sound_rows(60, truncated=0.2), tmp_path) is None, "a warning is no reason"
    watch = RunWatch(tmp_path, 1)
    for row in rows:
        watch.step(record(row), *drawn("a", "b"))
        watch.go_on()


def faulty(fault: str) -> list[dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {
        "truncation": {"truncated": 0.6},
        "dead-groups-wrong": {"dead_groups": 0.95},
        "constant-reward": {"reward_std": 0.0, "reward": 0.1, "dead_groups": 1.0},
        "gradient-not-finite": {"skipped_steps": 1.0},
        "sampler-mismatch": {"sampler_gap": 0.2},
    }
    return sound_rows(200, **changes[fault])


@pytest.mark.parametrize(
    ("fault", "first", "again"),
    [
        ("truncation", 31, 60),
        ("constant-reward", 31, 60),
        ("sampler-mismatch", 31, 60),
        ("gradient-not-finite", 4, 6),
        ("dead-groups-wrong", 51, 100),
    ],
)
def test_what_ended_a_run_ends_its_resume_only_by_new_steps(
    tmp_path: Path, fault: str, first: int, again: int
) -> None:
    """As many new steps as its windows have; what was before the resume does not count."""
    rows = faulty(fault)
    stop = stopped_at(1, rows, tmp_path)
    assert stop is not None
    assert stop[0] == first - 1
    resumed = stopped_at(first, rows, numbered_run(tmp_path, rows))
    assert resumed is not None
    assert resumed[0] == again
    assert fault in resumed[1]


def test_an_over_fitted_run_needs_two_new_evaluations(tmp_path: Path) -> None:
    def stop(first: int, watch: RunWatch) -> int | None:
        for row in sound_rows(300):
            row["reward"] = min(0.1 + 0.006 * row["step"], 0.9)
            if row["step"] < first:
                continue
            watch.step(record(row), *drawn("a", "b"))
            if row["step"] % 25 == 0:
                accuracy = max(0.6 - 0.004 * row["step"], 0.1)
                watch.evaluated(row["step"], {"accuracy": accuracy})
            try:
                watch.go_on()
            except FindingError:
                return int(row["step"])
        return None

    first = stop(1, RunWatch(tmp_path, 1, stops=True))
    assert first is not None
    rows = [{**row, "reward": min(0.1 + 0.006 * row["step"], 0.9)} for row in sound_rows(first)]
    run = numbered_run(tmp_path, rows)
    evals = [
        {"step": step, "accuracy": max(0.6 - 0.004 * step, 0.1)}
        for step in range(25, first + 1, 25)
    ]
    (run / "evals.jsonl").write_text("".join(json.dumps(each) + "\n" for each in evals))
    assert stop(first + 1, RunWatch(run, first + 1, stops=True)) == first + 50


def test_the_file_says_what_the_command_says(tmp_path: Path) -> None:
    """And keeps the samples of what was before a resume."""
    rows = sound_rows(45)
    for row in rows:
        row["truncated"] = 0.6 if row["step"] <= 30 else 0.0
    run = numbered_run(tmp_path, rows)
    watch = RunWatch(run, 1, stops=True)
    for row in rows[:30]:
        rollout, scores = drawn("a", "b")
        watch.step(record(row), rollout, scores)
    watch.write()
    first = json.loads((run / "diagnosis.json").read_text())
    assert [each["name"] for each in first["findings"]] == ["truncation"]
    one = first["findings"][0]
    assert (one["severity"], one["first"], one["last"], one["wasted"]) == ("stop", 1, 30, 1152)
    assert one["keys"] == ["rollout.max_tokens", "model.eos"]
    one["samples"] = [
        {"step": 30, "index": 1, "sample": 2, "total": None, "tokens": 3, "text": "kept"}
    ]
    (run / "diagnosis.json").write_text(json.dumps(first))
    later = RunWatch(run, 31)
    for row in rows[30:]:
        later.step(record(row), *drawn("a", "b"))
    later.write()
    again = json.loads((run / "diagnosis.json").read_text())
    assert (again["rows"], again["last_step"]) == (45, 45)
    assert again["findings"][0]["samples"] == one["samples"]


def test_a_sound_run_leaves_no_file(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path, 1)
    (tmp_path / "diagnosis.json").write_text("of a run that was cut back")
    for row in sound_rows(60):
        watch.step(record(row), *drawn("a", "b"))
    watch.write()
    assert not (tmp_path / "diagnosis.json").exists()


def test_a_real_run_stops_and_goes_on_exactly(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole run, and one that two reasons to stop have cut into three, are one and the same."""
    for what in ("warn", "stop"):
        text = RECIPE.format(model=tiny_model_folder, what=what)
        (tmp_path / f"{what}.yaml").write_text(text)
    with Commands(tmp_path) as commands:
        assert commands.run("train", "warn.yaml", *QUICKLY) == 0, commands.output
        said = [line for line in commands.output.splitlines() if "; grpokit doctor " in line]
        assert any(" (a reason to stop), since step " in line for line in said)
        assert commands.run("train", "stop.yaml", *QUICKLY) == 8, commands.output
        (run,) = (tmp_path / "runs").glob("stop-*")
        first = commands.output[commands.output.rindex("run runs/stop-") :]
        data = json.loads((run / "diagnosis.json").read_text())
        assert data["stop"] is True
        at = data["last_step"]
        assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{at:06d}"]
        names = [each["name"] for each in data["findings"] if each["severity"] == "stop"]
        assert all(f"stop: {name}, steps" in first for name in names)
        assert f"grpokit train --resume runs/{run.name}" in first.replace("\n", " ")
        assert len(data["findings"][0]["samples"]) == 3
        capsys.readouterr()
        assert main(["doctor", str(run), "--json"]) == 8
        assert json.loads(capsys.readouterr().out)["findings"] == data["findings"]
        assert commands.run("train", "--resume", str(run), *QUICKLY) == 8, commands.output
        second = json.loads((run / "diagnosis.json").read_text())["last_step"]
        assert second >= at + 30
        go_on = ("--set", "train.on_finding=warn")
        assert commands.run("train", "--resume", str(run), *go_on, *QUICKLY) == 0, commands.output
        (whole,) = (tmp_path / "runs").glob("warn-*")
    assert outcome(run) == outcome(whole)

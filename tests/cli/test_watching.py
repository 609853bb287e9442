"""What goes wrong is said while the run trains: once, with the command that says more, and never at the run's cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from diagnosed_runs import numbered_run, sound_rows
from grpokit.cli.live import PlainTraining
from grpokit.cli.watching import RunWatch
from watched_steps import ROW, drawn, record


def watched(watch: RunWatch, rows: Sequence[ROW], texts: Sequence[str] = ("a", "b")) -> list[str]:
    return [line for row in rows for line in watch.step(record(row), *drawn(*texts))]


def test_a_sound_run_is_left_in_peace(tmp_path: Path) -> None:
    assert watched(RunWatch(tmp_path, 1), sound_rows(120)) == []


def test_a_fault_is_said_once_with_its_numbers_and_the_command(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    (line,) = watched(RunWatch(run, 1), sound_rows(70, truncated=0.25))
    assert line == (
        "truncation, since step 1: 25% of the completions ran into the limit of tokens; "
        f"grpokit doctor '{run}'"
    )
    twice = watched(RunWatch(run, 1), sound_rows(100, truncated=0.6))
    assert [each.split(",")[0] for each in twice] == ["truncation (a reason to stop)"] * 2


def test_repeats_are_seen_in_the_rows_themselves(tmp_path: Path) -> None:
    rows = sound_rows(40)
    (line,) = watched(RunWatch(tmp_path, 1), rows, ("same", "same", "same", "other"))
    assert line.startswith("duplicates, since step 1: 50% of the completions repeat")


def test_notes_are_not_said(tmp_path: Path) -> None:
    """A run that solves its prompts."""
    rows = [
        row
        | {
            "reward": min(0.1 + 0.02 * row["step"], 0.97),
            "dead_groups": min(0.02 * row["step"], 0.9),
        }
        for row in sound_rows(120)
    ]
    for row in rows:
        row["dead_groups_high"] = row["dead_groups"]
    assert watched(RunWatch(tmp_path, 1), rows) == []


def test_a_resumed_run_says_nothing_twice(tmp_path: Path) -> None:
    """What it had before counts; rows from the first step on are those of a run that was cut back."""
    rows = sound_rows(60, truncated=0.25)
    run = numbered_run(tmp_path, rows)
    assert watched(RunWatch(run, 41), rows[40:]) == []
    early = watched(RunWatch(run, 16), rows[15:])
    assert [line.split(",")[0] for line in early] == ["truncation"]


def test_a_look_that_fails_is_said_once_and_costs_nothing(tmp_path: Path) -> None:
    run = numbered_run(tmp_path, sound_rows(4))
    (run / "metrics.jsonl").write_text("{]\n")
    lines = watched(RunWatch(run, 5), sound_rows(40, truncated=0.5))
    assert len(lines) == 1
    assert lines[0].startswith("the run is no longer looked at: CheckpointError")


def test_evaluations_count(tmp_path: Path) -> None:
    watch = RunWatch(tmp_path, 1)
    said: list[str] = []
    for row in sound_rows(150):
        row["reward"] = min(0.1 + 0.006 * row["step"], 0.9)
        said += watch.step(record(row), *drawn("a", "b"))
        if row["step"] % 25 == 0:
            said += watch.evaluated(row["step"], {"accuracy": 0.2})
    assert {line.split()[0].strip(",") for line in said} == {"over-fitting"}
    assert len(said) == 2  # a warning, and a reason to stop


def test_the_view_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainTraining(show_every=0)
    view.start(tmp_path, 1, 50, [])
    for row in sound_rows(50, truncated=0.25):
        view.step(record(row), *drawn("a", "b"))
    found = capsys.readouterr()
    assert (found.out + found.err).count("truncation, since step 1") == 1

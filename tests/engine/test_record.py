"""Records are cut back exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit.engine.record import JsonLines
from grpokit.errors import CheckpointError


def test_cut_drops_what_came_after_and_only_that(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append([{"step": 1}, {"step": 2}])
    size = lines.size
    lines.append([{"step": 3}])
    with lines.path.open("a") as file:
        file.write('{"step": 4, "torn')
    assert [row["step"] for row in lines.read()] == [1, 2, 3]
    lines.cut(size)
    assert [row["step"] for row in lines.read()] == [1, 2]
    assert lines.size == size


def test_a_shorter_file_than_the_checkpoint_says_is_an_error(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append([{"step": 1}])
    with pytest.raises(CheckpointError, match="bytes, but the checkpoint"):
        lines.cut(lines.size + 1)


def test_nan_is_refused_and_hostile_text_survives(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "rollouts.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        lines.append([{"reward": float("nan")}])
    text = "line\u2028sep \ud800 \x1b[31m </script>"
    lines.append([{"text": text}])
    assert len(lines.read()) == 1


def test_keep_filters_rows(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "evals.jsonl")
    lines.append([{"step": step} for step in range(5)])
    lines.keep(lambda row: row["step"] < 3)
    assert [row["step"] for row in lines.read()] == [0, 1, 2]


def test_a_torn_last_line_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "evals.jsonl")
    lines.append([{"step": 1}])
    with lines.path.open("a") as file:
        file.write('{"step": 2, "torn')
    lines.keep(lambda _row: True)
    lines.append([{"step": 2}])
    assert [row["step"] for row in lines.read()] == [1, 2]


def test_files_that_cannot_be_used_are_storage_errors(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        JsonLines(tmp_path / "folder").append([{"step": 1}])
    (tmp_path / "broken").write_text("no json\n")
    with pytest.raises(CheckpointError, match="cannot be read"):
        JsonLines(tmp_path / "broken").read()

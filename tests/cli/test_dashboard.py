"""The frame of a run fits the terminal, whatever the run and the model say."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from grpokit.cli import render
from grpokit.cli.charts import area, shares, sparkline
from grpokit.cli.dashboard import Board, alike
from grpokit.cli.samples import Sample
from grpokit.spec.flow import StepRecord

HOSTILE = "漢字 \x1b[2J\x1b]0;pwn\x07 👨‍👩‍👧 👍🏽 ❤️ e\u0301\u202e\r\n[red]no[/red]\t" * 40


def board(text: str = "4", rewards: Sequence[str] = ("number", "format")) -> Board:
    """Twenty steps; the last one has half of its groups dead, a third of those at the top."""
    found = Board(last=40, names=rewards)
    for step in range(1, 21):
        metrics = {"reward": step / 20, "reward_std": 0.1, "dead_groups": 0.75}
        metrics |= {"dead_groups_high": 0.25, "length/mean": 100.0 + step, "truncated": 0.5}
        metrics |= {"tokens": 500.0, "entropy": 0.25, "kl": 0.001, "clip_low": 0.01}
        metrics |= {f"rewards/{name}/mean": 0.5 for name in rewards}
        seconds = {"generate": 3.0, "score": 0.5, "update": 1.5, "update/optimizer": 1.0}
        found.take(StepRecord(step=step, metrics=metrics, seconds={**seconds, "total": 5.0}))
    found.evaluations += [(10, 0.5), (20, 0.25)]
    found.findings.append(f"truncation (a reason to stop), since step 3: {text}")
    found.sample = Sample(
        step=20, question=text, answer=text, scores={"number": None}, total=0.5, advantage=-0.25
    )
    return found


def frame(shown: Board, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    console.print(render.framed(shown.lines, title="a title", footer="runs/" + "x" * 200))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [8, 20, 60, 80, 120, 200])
@pytest.mark.parametrize("height", [3, 5, 10, 24, 50])
def test_the_frame_never_exceeds_the_terminal(width: int, height: int) -> None:
    for shown in (Board(last=9), board(HOSTILE), board(HOSTILE, ["漢" * 30, *"abcdefghijklmnop"])):
        lines = frame(shown, width, height)
        assert len(lines) <= max(height - 1, 1)
        assert {cell_len(line) for line in lines if line.startswith("│")} <= {min(width, 160)}
        assert all(cell_len(line) <= width for line in lines)
        assert not any(char in "".join(lines) for char in "\x1b\x07\r\t\u202e\u200d")


def test_the_numbers_of_a_run_are_there() -> None:
    text = "\n".join(frame(board(), 80, 24))
    assert "step 20/40" in text
    assert "1m 40s left" in text
    assert "5s a step · 100 tokens/s" in text
    assert "reward        1.000   0.900  " in text  # now, and the mean of five steps
    assert "0.050 … 0.900" in text
    assert "teach 25%  all right 25%  all wrong 50%" in text
    assert "generate 60%  score 10%  update 30%" in text
    assert "entropy 0.250 · KL 0.0010 · clipped 1.0%" in text
    assert "25.0% right at step 20, best 50.0% at step 10" in text
    assert "number none → total 0.50, advantage -0.250" in text
    assert "! truncation (a reason to stop), since step 3: 4" in text


def test_a_low_terminal_keeps_what_matters() -> None:
    lines = frame(board(), 80, 7)
    assert [line.split()[1] for line in lines[1:-1]] == ["step", "reward", "dead", "length"]


def test_groups_that_are_alike_at_nothing_are_not_right() -> None:
    """At the start of a run every group may be dead at 0, which is then the step's highest total."""
    dead = {"dead_groups": 1.0, "dead_groups_high": 1.0, "reward_std": 0.0}
    assert alike(dead | {"reward": 0.0}) == {"teach": 0.0, "all right": 0.0, "all wrong": 1.0}
    assert alike(dead | {"reward": 1.0}) == {"teach": 0.0, "all right": 1.0, "all wrong": 0.0}


def test_text_is_folded_by_columns() -> None:
    assert render.fold("one two three", 9, 2) == ["one two", "three"]
    assert render.fold("漢字漢字", 5, 1) == ["漢字…"]
    assert render.fold("a\nb\x1b", 20, 1) == ["a ↵ b\\x1b"]
    assert render.fold("", 5, 3) == [""]


def test_charts() -> None:
    assert sparkline([0.0, 0.5], scale=(0.0, 1.0)) == "▁▅"
    assert area([0.0, 1.0], 9, 2) == [" █", "▁█"]
    assert area([1.0, 1.0], 9, 1) == ["▁▁"]
    assert shares({"a": 1.0, "b": 1.0, "c": 0.0}, 5) == {"a": 3, "b": 2, "c": 0}
    assert shares({"a": 99.0, "b": 1.0}, 10) == {"a": 9, "b": 1}
    assert shares({"a": 0.0}, 10) == {"a": 0}

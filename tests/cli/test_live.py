"""What a person sees while a run trains."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from grpokit.cli.live import PlainTraining, age_of, end_lines, rounds_of, sparkline
from grpokit.engine.observer import RunEnd


@pytest.mark.parametrize(("accuracy", "told"), [(0.0, "0.0%"), (0.25, "25.0%")])
def test_an_accuracy_is_told_also_when_it_is_zero(
    capsys: pytest.CaptureFixture[str], accuracy: float, told: str
) -> None:
    PlainTraining(show_every=0).evaluated(4, {"accuracy": accuracy})
    assert capsys.readouterr().out == f"  held-out accuracy {told} at step 4\n"


def test_the_next_commands_can_be_pasted() -> None:
    run = Path("my runs/a;b-1")
    end = RunEnd(run=run, steps=2, planned=2, final=run / "final", best_step=None)
    commands = [line for line in end_lines(end) if line.startswith("  grpokit")]
    words = [shlex.split(command, comments=True) for command in commands]
    assert words[0] == ["grpokit", "eval", str(run), "--base"]
    assert words[1] == ["grpokit", "train", "--resume", str(run), "--steps", "4"]


def test_a_sparkline_shows_the_whole_run():
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    rising = sparkline([step / 999 for step in range(1000)], width=8)
    assert rising == "▁▂▃▄▅▆▇█"
    assert len(sparkline(list(range(33)), width=32)) == 32


def test_rounds_are_told_where_there_are_several():
    assert rounds_of({"rounds": 1, "questions": 8}) == ""
    assert rounds_of({"rounds": 3, "questions": 14}) == "questions=14 in 3 rounds "


def test_age_is_told_where_rounds_are_drawn_ahead():
    assert age_of({"rounds": 1}) == ""
    assert age_of({"staleness": 0.0}) == "staleness=0.00 "
    assert age_of({"staleness": 0.75}) == "staleness=0.75 "

"""Pictures of runs: what is in them, and that equal runs give equal files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from compared_runs import append, compared_run, evaluation, store
from grpokit.cli.main import main
from grpokit.errors import CheckpointError
from grpokit.report.canvas import colour, plain
from grpokit.report.draw import Picture, band_of, draw, titles
from grpokit.report.exams import marks
from grpokit.report.recipes import labelled, varying
from grpokit.report.series import read_series

pytest.importorskip("matplotlib")


def picture(*paths: Path, metrics: tuple[str, ...] = ("reward",), **options: Any) -> Picture:
    runs = labelled([read_series(path) for path in paths])
    return Picture(runs=runs, names=titles(runs, varying(runs)), metrics=metrics, **options)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    found = [compared_run(tmp_path, f"a{seed}", seed=seed, steps=12 + seed) for seed in (1, 2)]
    return [*found, compared_run(tmp_path, "b", seed=1, steps=30, seconds=1.0)]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_equal_runs_give_equal_files(runs: list[Path], tmp_path: Path, suffix: str) -> None:
    store(runs[0], evaluation("1100"))
    for name in ("one", "two"):
        out = str(tmp_path / f"{name}.{suffix}")
        options = ["--evals", "--metric", "reward", "--metric", "entropy", "--x", "tokens"]
        assert main(["runs", "plot", *map(str, runs), *options, "--out", out]) == 0
    one, two = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_size > 5000
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_what_is_written_in_it(runs: list[Path], tmp_path: Path) -> None:
    store(runs[2], evaluation("1100"))
    drawn = picture(*runs, metrics=("reward", "length/mean"))
    (path,) = draw(drawn, [tmp_path / "a.svg"])
    text = path.read_text()
    for word in ("reward", "length/mean", "step", "A: steps 13, seed 1", "C: steps 30, seed 1"):
        assert f">{word}<" in text
    assert "held out" not in text
    marked = picture(*runs, axis="seconds", band=True, marks=marks(drawn.runs))
    text = draw(marked, [tmp_path / "b.svg"])[0].read_text()
    assert ">% right, held out (95% interval)<" in text
    assert ">seconds of steps<" in text


def test_compare_writes_the_named_numbers(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    names = [str(run) for run in runs]
    assert main(["runs", "compare", *names, "--metric", "entropy", "--plot", str(out)]) == 0
    text = out.read_text()
    assert ">reward<" in text
    assert ">entropy<" in text


def test_a_band_by_hand() -> None:
    first, second = ([1.0, 2.0, 3.0], [0.0, 2.0, 4.0]), ([1.0, 2.0, 3.0], [2.0, 2.0, 0.0])
    assert band_of([first, second]) == ([1, 2, 3], [1, 2, 2], [0, 2, 0], [2, 2, 4])
    assert band_of([first]) == ([1, 2, 3], [0, 2, 4], [0, 2, 4], [0, 2, 4])
    xs, mean, low, high = band_of([([0.0, 10.0], [0.0, 1.0]), ([2.0, 8.0], [1.0, 1.0])])
    assert (xs[0], xs[-1]) == (2.0, 8.0)  # as far as both go
    assert mean[0] == pytest.approx(0.6)  # on the straight line from 0 to 1
    assert (low[-1], high[-1]) == (pytest.approx(0.8), 1.0)


def test_titles_tell_what_differs(tmp_path: Path) -> None:
    first = compared_run(tmp_path, "a", optim={"lr": 0.1})
    second = compared_run(tmp_path, "b", optim={"lr": 0.2, "warmup": 3.0})
    third = compared_run(tmp_path, "c", optim={"lr": 0.3, "warmup": 3.0, "weight_decay": 0.5})
    assert picture(first, second).names == {"A": "lr 0.1, warmup 0.1", "B": "lr 0.2, warmup 3.0"}
    assert picture(first, second, third).names == {"A": "a", "B": "b", "C": "c"}


def test_hostile_names_are_drawn(tmp_path: Path) -> None:
    name = "$\\frac{_</svg>\x1b[31m\u202e\U0001f600"
    paths = [compared_run(tmp_path, f"_{number}", seed=number, steps=4) for number in (1, 2)]
    for path in paths:
        (path / "plan.json").write_text('{"name": "$\\\\frac{_</svg>\\u001b[31m\\u202e"}')
        append(path, '{"step": 5, "reward": 1, "$x_{": 0.5}\n')
    (path,) = draw(picture(*paths, metrics=("$x_{", "reward")), [tmp_path / "a.svg"])
    text = path.read_text()
    assert "\x1b" not in text
    assert text.count("</svg>") == 1
    assert "$x_{" in text
    assert plain(name) == "$\\frac{_</svg>?[31m?\U0001f600"
    assert plain("x" * 90) == "x" * 80 + "..."


def test_a_run_without_the_number_has_no_line(runs: list[Path], tmp_path: Path) -> None:
    (runs[1] / "metrics.jsonl").write_text('{"step": 1, "tokens": 3}\n')
    (path,) = draw(picture(*runs), [tmp_path / "a.svg"])
    shown = set(re.findall(r">([A-C]): ", path.read_text()))
    assert shown == {"A", "C"}


def test_what_cannot_be_written_is_an_error(runs: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "a.svg"
    target.mkdir()
    with pytest.raises(CheckpointError, match="could not be written"):
        draw(picture(*runs), [target])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_colours_do_not_repeat_soon() -> None:
    assert len({colour(place) for place in range(28)}) == 28


def test_marks_of_a_run(tmp_path: Path) -> None:
    run = compared_run(tmp_path, "a", steps=6)
    base = evaluation("0000", label="base", adapter="")
    store(run, base, evaluation("1000"), name="1")
    store(run, evaluation("1100"), name="2")  # measured again: the newer one counts
    store(run, evaluation("1000", label="step-000003", adapter="a3"), name="3")
    store(run, evaluation("1111", dataset="other"), name="0")
    append(
        run,
        '{"step": 2, "accuracy": 0.5, "accuracy_low": 0.2, "accuracy_high": 0.8}\n',
        "evals.jsonl",
    )
    found = marks(labelled([read_series(run)]))
    assert [(m.step, m.accuracy, m.kind) for m in found] == [
        (2, 0.5, "during training"),
        (0, 0.0, "stored"),
        (3, 0.25, "stored"),
        (6, 0.5, "stored"),
    ]

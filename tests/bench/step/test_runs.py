"""Measuring in real processes, with contestants that take no time: what is kept, tried again, and told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from grpokit.bench.step import runs
from grpokit.bench.step.grid import Cell, Contestant, Settings, cells
from grpokit.bench.step.runs import Measured, Progress, run_all
from grpokit.spec.components import StepBenchSpec

RACER = """
import os, pathlib, time
from grpokit.errors import PreflightError

def run(work, watch):
    with open(os.environ["RACER_LOG"], "a") as log:
        log.write(f"{work.settings.get('name')} {len(work.completions[0])} {os.getpid()}\\n")
    kind = work.settings.get("kind")
    if kind == "refuses":
        raise PreflightError("no fuel", place="racer", remedy="fill it up")
    if kind == "crashes":
        raise ValueError("a wheel\\ncame off")
    if kind == "dies":
        os.abort()
    watch.ready()
    for step in range(work.steps):
        watch.begin()
        with watch.stage("generate"):
            time.sleep(60 if kind == "waits" else 0)
        with watch.stage("update"):
            pass
        watch.end()
    watch.gradient(1.0, {"w": [1.0, 0.5]})
"""
GRID = cells(["float32"], [8], [4], [2, 4], [1.0])
SETTINGS = Settings(model="m", rounds=2)
MODEL = {"folder": "m", "tokens": [1, 2, 3, 4, 5]}


class Told(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, line: str) -> None:
        self.lines.append(line)

    def end(self, measured: Measured, *, cached: bool) -> None:
        self.lines.append(f"{measured.contestant.label} {'was there' if cached else 'measured'}")


@pytest.fixture
def racers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "racer.py").write_text(RACER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RACER_LOG", str(tmp_path / "log"))
    return tmp_path


def racer(name: str, kind: str = "") -> Contestant:
    settings = (("name", name), ("kind", kind))
    spec = StepBenchSpec(name=name, summary="", target="racer:run", settings=settings)
    return Contestant(label=name, spec=spec, plugin="racer", code="1")


def measure(
    folder: Path, *contestants: Contestant, grid: tuple[Cell, ...] = GRID, again: bool = False
) -> tuple[list[Measured], Told]:
    told = Told()
    found = run_all(grid, contestants, SETTINGS, MODEL, folder / "out", told, again=again)
    return found, told


def log(folder: Path) -> list[str]:
    return [line.rpartition(" ")[0] for line in (folder / "log").read_text().splitlines()]


def test_contestants_of_a_cell_follow_each_other_and_are_kept(racers: Path) -> None:
    one, two = racer("one"), racer("two")
    found, told = measure(racers, one, two)
    assert log(racers) == ["one 2", "two 2", "one 4", "two 4"]
    assert [len(each.data["steps"]) for each in found] == [3, 3, 3, 3]
    assert "loaded" in told.lines
    again, told = measure(racers, one, two)
    assert [line for line in told.lines if line.endswith("was there")] == [
        f"{name} was there" for name in ("one", "two") * 2
    ]
    assert [each.when for each in again] == [each.when for each in found]
    names = sorted(path.name for path in (racers / "out" / "cells").iterdir())
    assert names[0] == "float32-p8-c4-g2-k1-one.json"
    assert len(names) == 4, "nothing but the results is left"
    measure(racers, replace(one, code="2"), two)
    assert log(racers)[4:] == ["one 2", "one 4"], "only what has changed"
    measure(racers, two, grid=GRID[:1], again=True)
    assert log(racers)[6:] == ["two 2"]


def test_what_is_old_stands_beside_nothing_new(
    racers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, bad = racer("one"), racer("two"), racer("refuses", "refuses")
    measure(racers, one, two, bad, grid=GRID[:1])
    monkeypatch.setattr(runs, "APART", -1.0)
    measure(racers, one, two, bad, grid=GRID[:1])
    assert log(racers)[3:] == ["refuses 2"], "what fails each time lets the others stand"
    measure(racers, replace(one, code="2"), two, bad, grid=GRID[:1])
    assert log(racers)[4:] == ["one 2", "two 2", "refuses 2"]


def test_failures_are_told_and_tried_again(racers: Path) -> None:
    bad = [racer(kind, kind) for kind in ("refuses", "crashes", "dies")]
    found, _ = measure(racers, *bad, grid=GRID[:1])
    refuses, crashes, dies = (each.failure for each in found)
    assert refuses == "racer: no fuel; fill it up"
    assert crashes == "ValueError: a wheel came off"
    assert dies.startswith("the process ended with code -6 and without a result; its last words")
    assert (racers / "out/cells/float32-p8-c4-g2-k1-crashes.log").read_text().count("Traceback")
    measure(racers, bad[0], grid=GRID[:1])
    assert log(racers).count("refuses 2") == 2


BENCH = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_runs import measure, racer
measure(Path({folder!r}), racer("waits", "waits"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_bench_that_is_stopped_leaves_no_process(racers: Path, number: signal.Signals) -> None:
    code = BENCH.format(tests=str(Path(__file__).parent), folder=str(racers))
    bench = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    log = racers / "log"
    while not log.is_file() or not log.read_text().endswith("\n"):
        assert bench.poll() is None
        time.sleep(0.02)
    worker = int(log.read_text().split()[-1])
    bench.send_signal(number)
    bench.wait(timeout=30)
    for _ in range(300):
        if not alive(worker):
            break
        time.sleep(0.05)
    assert not alive(worker)
    assert not list((racers / "out/cells").glob("*waits.json"))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_another_version_than_the_label_says_is_a_failure(racers: Path) -> None:
    one = racer("one")
    against = replace(one.spec, against="pytest", versions=("pytest",))
    wrong = replace(one, spec=against, versions={"pytest": "0.0"})
    (found,), _ = measure(racers, wrong, grid=GRID[:1])
    assert found.failure == f"pytest {pytest.__version__} was measured, not 0.0"
    right = replace(wrong, versions={"pytest": pytest.__version__})
    (found,), _ = measure(racers, right, grid=GRID[:1])
    assert not found.failure


def test_a_broken_file_is_measured_anew(racers: Path) -> None:
    measure(racers, racer("one"), grid=GRID[:1])
    path = racers / "out/cells/float32-p8-c4-g2-k1-one.json"
    path.write_text(path.read_text()[:-20])
    measure(racers, racer("one"), grid=GRID[:1])
    assert log(racers) == ["one 2", "one 2"]
    assert json.loads(path.read_text())["contestant"] == "one"

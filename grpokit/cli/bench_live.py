"""What a person sees while a bench runs: a bar on a terminal; elsewhere a line a run, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from grpokit.bench.matrix import Cell
from grpokit.bench.runs import Finished, Watch
from grpokit.cli import render
from grpokit.cli.charts import duration, sparkline
from grpokit.engine.observer import Observer
from grpokit.spec.flow import Rollout, Scores, StepRecord

__all__ = ["BenchView"]


class BenchView(Watch):
    """The whole bench. ``view`` is None where stderr is no terminal."""

    def __init__(self, view: render.LiveView | None, total: int) -> None:
        self.view = view
        self.total = total
        self.done = 0
        self.began = time.monotonic()

    def begin(self, cell: Cell, number: int, total: int) -> Observer:
        self.done, self.began = number - 1, time.monotonic()
        return _RunView(self, f"{number}/{total} {_name(cell)}")

    def skip(self, cell: Cell, number: int, total: int) -> None:
        self.done, self.began = number - 1, time.monotonic()

    def evaluate(self, label: str, done: int, total: int) -> None:
        self.show(f"{label}: {done} of {total} questions", self.done)

    def end(self, finished: Finished) -> None:
        cell, summary = finished.cell, finished.summary
        fact = f"{100 * summary['accuracy']:.1f}%" if summary else f"failed: {finished.failure}"
        took = duration(time.monotonic() - self.began)
        self.done += 1
        self.say(f"{self.done}/{self.total} {_name(cell)}: {fact} ({took})")

    def say(self, text: str) -> None:
        if self.view is not None:
            self.view.print(text)
        else:
            sys.stderr.write(render.safe(text, one_line=True) + "\n")

    def show(self, words: str, done: float) -> None:
        if self.view is not None:
            self.view.update(render.stack(words, render.progress_bar(done, self.total)))


class _RunView(Observer):
    """One run of it."""

    def __init__(self, bench: BenchView, title: str) -> None:
        self.bench = bench
        self.title = title
        self.rewards: list[float] = []
        self.last = 1

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        self.last = last

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        if "reward" in record.metrics:
            self.rewards.append(record.metrics["reward"])
        words = f"{self.title}  step {record.step}/{self.last}  {sparkline(self.rewards)}"
        self.bench.show(words, self.bench.done + record.step / self.last)

    def say(self, text: str, *, warning: bool = False) -> None:
        self.bench.say(f"{self.title}: {text}")


def _name(cell: Cell) -> str:
    return f"{cell.contestant.label}, seed {cell.seed}"

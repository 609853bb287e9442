"""What a person sees while a run trains: reward and dead groups first, never the loss.

``LiveTraining`` redraws one panel on a terminal; ``PlainTraining`` writes one line a step.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from grpokit.cli import render
from grpokit.cli.charts import duration, sparkline
from grpokit.cli.dashboard import Board
from grpokit.cli.samples import best_sample, sample_line
from grpokit.cli.watching import RunWatch
from grpokit.engine.observer import Observer, RunEnd
from grpokit.engine.record import JsonLines
from grpokit.errors import CheckpointError
from grpokit.spec.flow import Rollout, Scores, StepRecord

__all__ = ["LiveTraining", "PlainTraining", "duration", "sparkline"]

_STAGES = {
    "load": "loading the model",
    "generate": "generating",
    "sync": "handing the weights to the sampler",
    "wait": "waiting for the completions of the next step",
    "measure": "asking the policy",
    "score": "scoring",
    "update": "updating",
    "save": "saving",
    "evaluate": "evaluating",
}


class _Training(Observer):
    """What both views know of a run."""

    def __init__(self, *, show_every: int, stops: bool = False) -> None:
        self.show_every = show_every
        self.stops = stops
        self.board = Board()
        self.watch: RunWatch | None = None

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        self.board.first, self.board.last, self.board.step = first, last, first - 1
        self.board.names = list(rewards)
        self.watch = RunWatch(run, first, stops=self.stops)

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        self.board.take(record)
        if self.watch is not None:
            self._warn(self.watch.step(record, rollout, scores))

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        if "accuracy" in metrics:
            self.board.evaluations.append((step, metrics["accuracy"]))
        if self.watch is not None:
            self._warn(self.watch.evaluated(step, metrics))

    def go_on(self) -> None:
        if self.watch is not None:
            self.watch.go_on()

    def _warn(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.board.findings.append(line)
            self.say(line, warning=True)

    def samples_due(self) -> bool:
        step = self.board.step
        return self.show_every > 0 and (step == self.board.first or step % self.show_every == 0)


class PlainTraining(_Training):
    """One line a step, for logs and pipes."""

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        super().start(run, first, last, rewards)
        render.say(f"run {run}: steps {first} to {last}")

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        super().step(record, rollout, scores)
        metrics, board = record.metrics, self.board
        rewards = " ".join(
            f"{name}={metrics[f'rewards/{name}/mean']:.3f}"
            for name in board.names
            if f"rewards/{name}/mean" in metrics
        )
        render.say(
            f"step {record.step}/{board.last} reward={metrics.get('reward', float('nan')):.3f} "
            f"dead={metrics['dead_groups']:.0%} {rewards} {rounds_of(metrics)}{age_of(metrics)}"
            f"length={metrics['length/mean']:.1f} "
            f"truncated={metrics['truncated']:.0%} {record.seconds['total']:.1f}s left={board.left}"
        )
        if self.samples_due():
            render.say("  " + sample_line(rollout, scores))

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        super().evaluated(step, metrics)
        if "accuracy" in metrics:
            render.say(f"  held-out accuracy {metrics['accuracy']:.1%} at step {step}")

    def saved(self, step: int, folder: Path) -> None:
        render.say(f"  checkpoint of step {step} saved in {folder}")

    def say(self, text: str, *, warning: bool = False) -> None:
        (render.warn if warning else render.say)(text)


class LiveTraining(_Training):
    """A frame that is redrawn after every stage (``dashboard`` makes its lines)."""

    def __init__(
        self, view: render.LiveView, *, title: str, show_every: int, stops: bool = False
    ) -> None:
        super().__init__(show_every=show_every, stops=stops)
        self.view = view
        self.title = title
        self.folder = ""
        self.advantages: Mapping[int, Sequence[float]] = {}

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        super().start(run, first, last, rewards)
        self.folder = str(run)
        with suppress(CheckpointError, KeyError, TypeError):  # a look back, not worth a run
            self._remember(run, first)

    def _remember(self, run: Path, first: int) -> None:
        """The steps and evaluations before a resume."""
        for row in JsonLines(run / "metrics.jsonl").read():
            if row["step"] < first:
                numbers = {key: row[key] for key in row if key not in {"step", "seconds"}}
                self.board.take(
                    StepRecord(step=row["step"], metrics=numbers, seconds=row["seconds"])
                )
        for row in JsonLines(run / "evals.jsonl").read():
            if "accuracy" in row:
                self.board.evaluations.append((row["step"], row["accuracy"]))

    def stage(self, step: int, name: str) -> None:
        self.board.activity = _STAGES.get(name, name)
        self.draw()

    def weighed(self, step: int, advantages: Mapping[int, Sequence[float]]) -> None:
        self.advantages = advantages

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        super().step(record, rollout, scores)
        if self.samples_due():
            self.board.sample = best_sample(record.step, rollout, scores, self.advantages)
        self.draw()

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        super().evaluated(step, metrics)
        self.draw()

    def saved(self, step: int, folder: Path) -> None:
        self.board.note = f"checkpoint of step {step} saved"
        self.draw()

    def say(self, text: str, *, warning: bool = False) -> None:
        self.view.print(("warning: " if warning else "") + text)

    def end(self, end: RunEnd) -> None:
        self.board.activity = "done"
        self.draw()

    def draw(self) -> None:
        self.view.update(
            render.framed(self.board.lines, title=self.title, footer=self.folder, style="cyan")
        )


def rounds_of(metrics: Mapping[str, float]) -> str:
    """The questions of a step that asked more than once."""
    if metrics.get("rounds", 1) <= 1:
        return ""
    return f"questions={metrics['questions']:.0f} in {metrics['rounds']:.0f} rounds "


def age_of(metrics: Mapping[str, float]) -> str:
    """How old the completions are that trained, in a run that draws ahead."""
    return f"staleness={metrics['staleness']:.2f} " if "staleness" in metrics else ""


def end_lines(end: RunEnd, more: str = "") -> list[str]:
    """What to type next; ``more`` is what the commands need beside."""
    lines = [f"done: {end.steps} steps; the trained policy is in {end.final}"]
    if end.best_step is not None and end.best_step != end.steps:
        lines.append(f"best checkpoint: step {end.best_step}")
    run = shlex.quote(str(end.run))
    return [
        *lines,
        "next:",
        f"  grpokit eval {run} --base{more}     # trained against base on held-out problems",
        f"  grpokit train --resume {run} --steps {end.steps * 2}{more}     # train longer",
    ]

"""What a person sees while a run trains: reward and dead groups first, never the loss.

``LiveTraining`` redraws one panel on a terminal; ``PlainTraining`` writes one line a step.
"""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.watching import RunWatch
from grpokit.engine.observer import Observer, RunEnd
from grpokit.spec.flow import Rollout, Scores, StepRecord

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["LiveTraining", "PlainTraining", "duration", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
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


def sparkline(
    values: Sequence[float], width: int = 32, scale: tuple[float, float] | None = None
) -> str:
    """All values as at most ``width`` blocks, scaled between the lowest and the highest, or by ``scale``.

    Where there are more values than blocks, a block is the mean of its share.
    """
    if not values:
        return ""
    count, blocks = len(values), min(len(values), width)
    edges = [count * place // blocks for place in range(blocks + 1)]
    shown = [fmean(values[start:end]) for start, end in pairwise(edges)]
    low, high = scale or (min(shown), max(shown))
    span = high - low or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in shown)


def duration(seconds: float) -> str:
    """Seconds as ``42s``, ``3m 05s`` or ``2h 07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


class _Training(Observer):
    """The history of a run that both views draw from."""

    def __init__(self, *, show_every: int, stops: bool = False) -> None:
        self.show_every = show_every
        self.stops = stops
        self.first = 1
        self.last = 0
        self.history: dict[str, list[float]] = {}
        self.record: StepRecord | None = None
        self.times: deque[float] = deque(maxlen=10)
        self.began = time.monotonic()
        self.evaluation = ""
        self.watch: RunWatch | None = None

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        self.first, self.last = first, last
        self.names = list(rewards)
        self.watch = RunWatch(run, first, stops=self.stops)

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        self.record = record
        self.times.append(record.seconds["total"])
        for name, value in record.metrics.items():
            self.history.setdefault(name, []).append(value)
        if self.watch is not None:
            self._warn(self.watch.step(record, rollout, scores))

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        accuracy = metrics.get("accuracy")
        if accuracy is not None:
            self.evaluation = f"held-out accuracy {accuracy:.1%} at step {step}"
        if self.watch is not None:
            self._warn(self.watch.evaluated(step, metrics))

    def go_on(self) -> None:
        if self.watch is not None:
            self.watch.go_on()

    def _warn(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.say(line, warning=True)

    @property
    def left(self) -> str:
        if not self.record or not self.times:
            return "?"
        return duration((self.last - self.record.step) * sum(self.times) / len(self.times))

    def samples_due(self) -> bool:
        step = self.record.step if self.record else 0
        return self.show_every > 0 and (step == self.first or step % self.show_every == 0)

    def mean(self, name: str, window: int = 5) -> float | None:
        values = self.history.get(name, [])[-window:]
        return sum(values) / len(values) if values else None


class PlainTraining(_Training):
    """One line a step, for logs and pipes."""

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        super().start(run, first, last, rewards)
        render.say(f"run {run}: steps {first} to {last}")

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        super().step(record, rollout, scores)
        metrics = record.metrics
        rewards = " ".join(
            f"{name}={metrics[f'rewards/{name}/mean']:.3f}"
            for name in self.names
            if f"rewards/{name}/mean" in metrics
        )
        render.say(
            f"step {record.step}/{self.last} reward={metrics.get('reward', float('nan')):.3f} "
            f"dead={metrics['dead_groups']:.0%} {rewards} {rounds_of(metrics)}{age_of(metrics)}"
            f"length={metrics['length/mean']:.1f} "
            f"truncated={metrics['truncated']:.0%} {record.seconds['total']:.1f}s left={self.left}"
        )
        if self.samples_due():
            render.say("  " + sample_line(rollout, scores))

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        super().evaluated(step, metrics)
        render.say(f"  {self.evaluation}")

    def saved(self, step: int, folder: Path) -> None:
        render.say(f"  checkpoint of step {step} saved in {folder}")

    def say(self, text: str, *, warning: bool = False) -> None:
        (render.warn if warning else render.say)(text)


class LiveTraining(_Training):
    """A panel that is redrawn after every stage."""

    def __init__(
        self, view: render.LiveView, *, title: str, show_every: int, stops: bool = False
    ) -> None:
        super().__init__(show_every=show_every, stops=stops)
        self.view = view
        self.title = title
        self.activity = "starting"
        self.sample = ""
        self.note = ""

    def stage(self, step: int, name: str) -> None:
        self.activity = _STAGES.get(name, name)
        self._draw()

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        super().step(record, rollout, scores)
        if self.samples_due():
            self.sample = sample_line(rollout, scores)
        self._draw()

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        super().evaluated(step, metrics)
        self._draw()

    def saved(self, step: int, folder: Path) -> None:
        self.note = f"checkpoint of step {step} saved"
        self._draw()

    def say(self, text: str, *, warning: bool = False) -> None:
        self.view.print(("warning: " if warning else "") + text)

    def _draw(self) -> None:
        step = self.record.step if self.record else self.first - 1
        head = render.grid(
            [
                [
                    render.progress_bar(step, self.last, width=30),
                    f"step {step}/{self.last}",
                    f"{duration(time.monotonic() - self.began)} gone, {self.left} left",
                    render.text(self.activity, "dim"),
                ]
            ]
        )
        parts: list[RenderableType] = [head, *self._table()]
        if self.evaluation:
            parts.append(render.text(self.evaluation, "bold"))
        if self.sample:
            parts.append(render.text(self.sample, "dim", limit=600))
        if self.note:
            parts.append(render.text(self.note, "dim"))
        self.view.update(render.panel(render.stack(*parts), title=self.title, style="cyan"))

    def _table(self) -> list[RenderableType]:
        if not self.record:
            return []
        rows = [
            self._row("reward", "reward", "bold green"),
            self._row("dead groups", "dead_groups", "bold yellow"),
            *(self._row(f"  {name}", f"rewards/{name}/mean", "") for name in self.names),
            self._row("length", "length/mean", ""),
            self._row("truncated", "truncated", ""),
        ]
        if max(self.history.get("rounds", [1])) > 1:
            rows.append(self._row("questions", "questions", ""))
        if "staleness" in self.history:
            rows.append(self._row("staleness", "staleness", ""))
        if "entropy" in self.history:
            rows.append(self._row("entropy", "entropy", ""))
        return [render.grid(rows, right=(1, 2))]

    def _row(self, label: str, name: str, style: str) -> list[RenderableType]:
        values = self.history.get(name, [])
        mean = self.mean(name)
        return [
            render.text(label, style),
            render.text(_number(name, values[-1]) if values else "-", style),
            render.text(f"avg5 {_number(name, mean)}" if mean is not None else "", "dim"),
            render.text(sparkline(values), style or "cyan"),
        ]


def _number(name: str, value: float) -> str:
    if name in {"dead_groups", "truncated"}:
        return f"{value:.0%}"
    if name == "questions":
        return f"{value:.0f}"
    return f"{value:.1f}" if name == "length/mean" else f"{value:.3f}"


def rounds_of(metrics: Mapping[str, float]) -> str:
    """The questions of a step that asked more than once."""
    if metrics.get("rounds", 1) <= 1:
        return ""
    return f"questions={metrics['questions']:.0f} in {metrics['rounds']:.0f} rounds "


def age_of(metrics: Mapping[str, float]) -> str:
    """How old the completions are that trained, in a run that draws ahead."""
    return f"staleness={metrics['staleness']:.2f} " if "staleness" in metrics else ""


def sample_line(rollout: Rollout, scores: Scores) -> str:
    """The best-scored completion of the step's first prompt, with its question and score."""
    question = rollout.prompts[0].messages[-1]["content"].strip().splitlines()[-1:] or [""]
    totals = scores.total[0]
    known = [(value, g) for g, value in enumerate(totals) if value is not None]
    value, best = max(known, key=lambda pair: pair[0], default=(None, 0))
    total = "no score" if value is None else f"{value:.2f}"
    answer = render.safe(rollout.completions[0][best].text.strip(), limit=240, one_line=True)
    return f"{render.safe(question[0], limit=120, one_line=True)} -> {answer} [{total}]"


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

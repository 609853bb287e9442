"""The frame of a run in progress: what is known of it, and the lines that fit the terminal.

Rows are made for the width. Where the height is short, the least important ones are left out: the chart
first, then the completion, the policy's numbers, the times, and last the rewards one by one. The order
on the screen stays the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.charts import area, duration, shares, sparkline
from grpokit.cli.samples import Sample
from grpokit.spec.flow import StepRecord

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Board", "alike"]

WINDOW = 5
"""Steps of a moving average."""
_SHARES = frozenset({"dead_groups", "truncated", "abstained"})
_WHOLE = (0.0, 1.0)
_NUMBER = 8
_RANGE = 17
"""Columns of a number and of a range."""
_CHART = 5
_STAGES = {
    "generate": ("█", "cyan"),
    "measure": ("▒", "yellow"),
    "score": ("▓", "magenta"),
    "update": ("▒", "blue"),
    "sync": ("░", "green"),
    "wait": ("░", "yellow"),
    "other": ("░", "bright_black"),
}
_GROUPS = {"teach": ("█", "green"), "all right": ("▒", "cyan"), "all wrong": ("░", "red")}


def alike(metrics: Mapping[str, float]) -> dict[str, float]:
    """Shares of groups that teach, and of those whose completions all came out alike.

    All right means: at the highest total of the step. Where the whole step earned the same, and nothing
    above 0, that is no praise.
    """
    dead = metrics.get("dead_groups", 0.0)
    right = metrics.get("dead_groups_high", 0.0)
    if metrics.get("reward_std") == 0 and metrics.get("reward", 0.0) <= 0:
        right = 0.0
    return {"teach": 1 - dead, "all right": right, "all wrong": max(dead - right, 0.0)}


@dataclass
class _Block:
    """Lines that are shown together or not at all; a low rank is shown before a high one."""

    rank: int
    section: int
    lines: list[Text]


@dataclass
class Board:
    """What is known of a run, a step at a time."""

    first: int = 1
    last: int = 0
    step: int = 0
    names: Sequence[str] = ()
    values: dict[str, list[float]] = field(default_factory=dict)
    means: dict[str, list[float]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=10))
    began: float = field(default_factory=time.monotonic)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    findings: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    sample: Sample | None = None
    activity: str = "starting"
    note: str = ""

    def take(self, record: StepRecord) -> None:
        """A finished step."""
        self.step, self.metrics = record.step, record.metrics
        self.seconds.append(record.seconds)
        for name, value in record.metrics.items():
            values = self.values.setdefault(name, [])
            values.append(value)
            self.means.setdefault(name, []).append(fmean(values[-WINDOW:]))

    @property
    def left(self) -> str:
        if not self.seconds:
            return "?"
        return duration((self.last - self.step) * fmean(row["total"] for row in self.seconds))

    # ------------------------------------------------------------------------------- the frame

    def lines(self, width: int, height: int) -> list[Text]:
        """At most ``height`` lines of at most ``width`` columns."""
        blocks = list(self._blocks(width, height))
        room, chosen = height, set()
        for block in sorted(blocks, key=lambda each: each.rank):
            if len(block.lines) <= room:
                room -= len(block.lines)
                chosen.add(id(block))
        shown = [block for block in blocks if id(block) in chosen]
        found: list[Text] = []
        for place, block in enumerate(shown):
            if place and room and shown[place - 1].section != block.section:
                found.append(render.text(""))
                room -= 1
            found += block.lines
        return found

    def _blocks(self, width: int, height: int) -> Iterator[_Block]:
        yield _Block(0, 0, [self._progress(width)])
        yield _Block(6, 0, [self._activity(width)])
        label = self._label_width(width)
        if self.values:
            chart = self._chart(width, label)
            if chart:
                yield _Block(90, 1, chart)
            if width >= 40:
                yield _Block(30, 2, [self._heading(width, label)])
            yield from self._rows(width, label)
            yield _Block(25, 3, [self._groups(width, label)])
            if self.seconds:
                yield _Block(40, 3, [self._times(width, label)])
            yield _Block(50, 3, [self._policy(width, label)])
        if self.evaluations:
            yield _Block(4, 3, [self._held_out(width, label)])
        if self.sample:
            yield _Block(45, 4, self._sample(self.sample, width, 8 if height >= 34 else 3))
        if self.findings:
            for place, line in enumerate(reversed(self.findings)):
                style = "bold red" if "(a reason to stop)" in line else "yellow"
                yield _Block(
                    5 + place * 30,
                    5,
                    [_line(("! " + render.fold(line, width - 2, 1)[0], style), width=width)],
                )

    def _progress(self, width: int) -> Text:
        told = f"{duration(time.monotonic() - self.began)} gone, {self.left} left"
        count = f"step {self.step}/{self.last} "
        bar = width - len(count) - len(told) - 1
        if bar < 8:
            return _line((count, "bold"), (told, ""), width=width)
        done = min(bar, bar * self.step // max(self.last, 1))
        parts = (("━" * done, "cyan"), ("─" * (bar - done), "bright_black"))
        return _line((count, "bold"), *parts, (" " + told, ""), width=width)

    def _activity(self, width: int) -> Text:
        told = [self.activity]
        if self.seconds:
            total = fmean(row["total"] for row in self.seconds)
            told.append(f"{total:.2g}s a step" if total < 10 else f"{duration(total)} a step")
            tokens = self.values.get("tokens", [])[-len(self.seconds) :]
            if tokens and total > 0:
                told.append(f"{fmean(tokens) / total:,.0f} tokens/s")
        if self.note:
            told.append(self.note)
        return _line((" · ".join(told), "dim"), width=width)

    # -------------------------------------------------------------------------- numbers in time

    def _label_width(self, width: int) -> int:
        longest = max((render.cells(name) + 2 for name in self.names), default=0)
        return min(max(longest, 11), max(width // 4, 6))

    def _chart(self, width: int, label: int) -> list[Text]:
        means = self.means.get("reward", [])
        if len(means) < 2 or width < 40:
            return []
        drawn = area(means, width - label - 2, _CHART)
        edges = [f"{max(means):.3f}", *[""] * (_CHART - 2), f"{min(means):.3f}"]
        return [
            _line((edge.rjust(label) + "  ", "dim"), (line, "green"), width=width)
            for edge, line in zip(edges, drawn, strict=True)
        ]

    def _heading(self, width: int, label: int) -> Text:
        words = f"{'':{label}}{'now':>{_NUMBER}}{'5 steps':>{_NUMBER}}"
        room = width - len(words)
        told = "  mean of 5 steps, over the run"
        if room - 2 > 2 * _RANGE:
            told = told.ljust(room - _RANGE) + "lowest … highest".rjust(_RANGE)
        elif room < len(told):
            told = ""
        return _line((words + told, "dim"), width=width)

    def _rows(self, width: int, label: int) -> Iterator[_Block]:
        wanted = [
            (1, "reward", "reward", "bold green"),
            *(
                (10 + n, f"  {name}", f"rewards/{name}/mean", "")
                for n, name in enumerate(self.names)
            ),
            (2, "dead groups", "dead_groups", "bold yellow"),
            (3, "length", "length/mean", ""),
            (8, "truncated", "truncated", ""),
        ]
        if any(self.values.get("abstained", ())):
            wanted.append((7, "no score", "abstained", "red"))
        if max(self.values.get("rounds", [1])) > 1:
            wanted.append((35, "questions", "questions", ""))
        wanted.append((36, "staleness", "staleness", ""))
        for rank, name, metric, style in wanted:
            if self.values.get(metric):
                yield _Block(rank, 2, [self._row(name, metric, style, width, label)])

    def _row(self, name: str, metric: str, style: str, width: int, label: int) -> Text:
        values, means = self.values[metric], self.means[metric]
        head = render.fold(name.strip(), label - (len(name) - len(name.lstrip())), 1)[0]
        head = " " * (len(name) - len(name.lstrip())) + head
        padded = head + " " * (label - render.cells(head))
        now = _number(metric, values[-1]).rjust(_NUMBER) if metric in self.metrics else "-".rjust(8)
        mean = _number(metric, means[-1]).rjust(_NUMBER)
        room = width - label - 2 * _NUMBER - 2
        spread = ""
        if room > 2 * _RANGE:
            spread = f"{_number(metric, min(means))} … {_number(metric, max(means))}".rjust(_RANGE)
            room -= _RANGE
        scale = _WHOLE if metric in _SHARES else None
        line = sparkline(means, max(room, 0), scale=scale)
        return _line(
            (padded, style),
            (now, style),
            (mean, style or "dim"),
            ("  " + line.ljust(max(room, 0)), style.removeprefix("bold ") or "cyan"),
            (spread, "dim"),
            width=width,
        )

    def _groups(self, width: int, label: int) -> Text:
        return _bar("groups", alike(self.metrics), _GROUPS, width, label)

    def _times(self, width: int, label: int) -> Text:
        """Where the seconds of the last steps went."""
        total = sum(row["total"] for row in self.seconds)
        parts = {
            name: sum(row.get(name, 0.0) for row in self.seconds)
            for name in _STAGES
            if any(name in row for row in self.seconds)
        }
        parts["other"] = max(total - sum(parts.values()), 0.0)
        if parts["other"] < total / 100:
            del parts["other"]
        return _bar("time", parts, _STAGES, width, label)

    def _policy(self, width: int, label: int) -> Text:
        now = self.metrics
        told = [f"entropy {now['entropy']:.3f}"] if "entropy" in now else []
        told += [f"KL {now['kl']:.4f}"] if "kl" in now else []
        if "clip_low" in now or "clip_high" in now:
            told.append(f"clipped {now.get('clip_low', 0.0) + now.get('clip_high', 0.0):.1%}")
        told += [f"gradient {now['grad_norm']:.2f}"] if "grad_norm" in now else []
        told += [f"rate {now['lr']:.1e}"] if "lr" in now else []
        while told and label + len(" · ".join(told)) > width:
            told.pop()
        return _line(("policy".ljust(label), ""), (" · ".join(told), "dim"), width=width)

    # ------------------------------------------------------------------------------ in words

    def _held_out(self, width: int, label: int) -> Text:
        step, accuracy = self.evaluations[-1]
        told = f"{accuracy:.1%} right at step {step}"
        curve = ""
        if len(self.evaluations) > 1:
            curve = "  " + sparkline([value for _, value in self.evaluations], 24, scale=_WHOLE)
            at, best = max(self.evaluations, key=lambda pair: pair[1])
            told += f", best {best:.1%} at step {at}"
        return _line(
            ("held out".ljust(label), "bold"), (told, "bold"), (curve, "cyan"), width=width
        )

    def _sample(self, sample: Sample, width: int, lines: int) -> list[Text]:
        head = f"── step {sample.step}: the best of {sample.of} answers to one question "
        scored = [
            f"{render.safe(name, limit=60, one_line=True)} {_score(value)}"
            for name, value in sample.scores.items()
        ]
        total = f"total {_score(sample.total)}"
        if sample.advantage is not None:
            total += f", advantage {sample.advantage:+.3f}"
        ends = f"{sample.tokens} tokens{', truncated' if sample.truncated else ''}"
        question = " ".join(sample.question.split())
        return [
            _line((head + "─" * max(width - len(head), 0), "bright_black"), width=width),
            _line(("Q ", "bold"), (render.fold(question, width - 2, 1)[0], "dim"), width=width),
            *(
                _line(("  " if place else "A ", "bold"), (line, ""), width=width)
                for place, line in enumerate(render.fold(sample.answer, width - 2, lines))
            ),
            _line(
                ("  " + ", ".join(scored) + " → ", "dim"),
                (total, "bold"),
                (f" · {ends}", "dim"),
                width=width,
            ),
        ]


def _bar(
    name: str,
    parts: Mapping[str, float],
    looks: Mapping[str, tuple[str, str]],
    width: int,
    label: int,
) -> Text:
    """A stacked bar with its shares in words; where it is narrow, the words alone."""
    whole = sum(parts.values()) or 1.0
    words = [(part, f"{part} {value / whole:.0%}") for part, value in parts.items()]
    legend = sum(len(told) for _, told in words) + 2 * len(words)
    room = width - label - legend
    cells = shares(parts, min(room, 60)) if room >= 6 else {}
    if not cells:
        words = [(part, told.removeprefix("all ")) for part, told in words]
    bar = [(looks[part][0] * count, looks[part][1]) for part, count in cells.items()]
    legends = [("  " + told, looks[part][1]) for part, told in words]
    return _line((name.ljust(label), ""), *bar, *legends, width=width)


def _line(*parts: tuple[str, str], width: int) -> Text:
    """One line in pieces of one style each, cut at ``width`` columns."""
    line = render.text("")
    for words, style in parts:
        line.append_text(render.text(words, style, one_line=True))
    line.truncate(max(width, 1), overflow="ellipsis")
    return line


def _number(metric: str, value: float) -> str:
    if metric in _SHARES:
        return f"{value:.0%}"
    if metric == "questions":
        return f"{value:.0f}"
    return f"{value:.1f}" if metric == "length/mean" else f"{value:.3f}"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"

"""Pictures of an evaluation: accuracy over the checkpoints of a run, and accuracy over cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.evaluate.ladder import Point
from grpokit.evaluate.pareto import frontier
from grpokit.report.canvas import colour, pyplot, save, tidy

__all__ = ["Spot", "draw_costs", "draw_curve"]

GREY = "#707070"
SIZE = (6.5, 4.0)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A model by what a question costs and how often it is right."""

    label: str
    cost: float
    accuracy: float
    interval: tuple[float, float]


def draw_curve(points: Sequence[Point], stem: Path) -> tuple[Path, ...]:
    """Accuracy with its interval at each checkpoint, a line a run; step 0 is the model before training."""
    with pyplot() as plt:
        figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
        tidy(axis)
        for number, run in enumerate(dict.fromkeys(point.run for point in points)):
            own = [point for point in points if point.run == run]
            steps = [point.step for point in own]
            shade, _ = colour(number)
            axis.plot(steps, [100 * point.accuracy for point in own], "o-", color=shade, label=run)
            for point in own:
                _bar(axis, [point.step] * 2, point.interval, shade)
        axis.set(xlabel="step", ylabel="% of held-out questions (95% interval)")
        axis.legend(frameon=False, fontsize=8)
        return save(plt, figure, _files(stem))


def draw_costs(spots: Sequence[Spot], stem: Path) -> tuple[Path, ...]:
    """Accuracy with its interval over the cost of a question, logarithmic, and the frontier as a line."""
    shade, _ = colour(0)
    with pyplot() as plt:
        from matplotlib.ticker import LogFormatter

        figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
        tidy(axis)
        best = frontier([(spot.cost, spot.accuracy) for spot in spots])
        line = sorted(
            (spot.cost, 100 * spot.accuracy) for spot, on in zip(spots, best, strict=True) if on
        )
        axis.set_xscale("log")
        for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            formatter(
                LogFormatter(minor_thresholds=(2, 1))
            )  # plain numbers: nothing is a formula here
        axis.step(
            [x for x, _ in line], [y for _, y in line], where="post", color=GREY, lw=1, zorder=1
        )
        for spot, on in zip(spots, best, strict=True):
            _bar(axis, [spot.cost] * 2, spot.interval, shade)
            face = shade if on else "white"
            axis.plot(spot.cost, 100 * spot.accuracy, "o", color=shade, mfc=face, markersize=7)
            where = (spot.cost, 100 * spot.accuracy)
            axis.annotate(
                spot.label,
                where,
                xytext=(7, 4),
                textcoords="offset points",
                fontsize=8,
            )
        axis.set(xlabel="cost of a question", ylabel="% of held-out questions (95% interval)")
        return save(plt, figure, _files(stem))


def _bar(axis: Any, x: Sequence[float], interval: tuple[float, float], colour: str) -> None:
    axis.plot(x, [100 * end for end in interval], color=colour, lw=1.5, alpha=0.6)


def _files(stem: Path) -> tuple[Path, ...]:
    return tuple(stem.with_suffix(suffix) for suffix in (".svg", ".png"))

"""Results -> a picture: final accuracy with its interval, and every reward curve among the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from grpokit.report.canvas import pyplot, save

__all__ = ["draw"]

COLUMNS = 3
"""Small pictures side by side."""
POINTS = 60
"""Points of a curve."""
GREY = "#b8b8b8"
SHADES = (0, 2, 4, 6, 8, 10, 12, 16, 18, 1, 3, 5, 7, 9, 11, 13, 17, 19)
"""Colours of matplotlib's tab20: the dark ones first, and no grey."""


def draw(data: Mapping[str, Any], stem: Path) -> tuple[Path, ...]:
    """Writes ``stem.svg`` and ``stem.png`` and returns them. Equal results give equal files.

    Left, the accuracy of each algorithm over its seeds, beside that of the model before training.
    Right, a small picture for each: its mean reward in colour, the range of its seeds as a band, and
    the others in grey. Curves are means over a twentieth of the steps.
    """
    with pyplot() as plt:
        done = [item for item in data["algorithms"] if item["accuracy"] is not None]
        rows = max(2, math.ceil(len(done) / COLUMNS))
        figure = plt.figure(figsize=(11.5, 1.0 + 1.45 * rows), layout="constrained")
        sides: Any = figure.subfigures(1, 2, width_ratios=(2, 3), wspace=0.02)
        left, right = sides
        palette = plt.get_cmap("tab20")
        colours = [palette(SHADES[number % len(SHADES)]) for number in range(len(done))]
        _accuracies(left.subplots(), data, done, colours)
        _curves(
            right.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False), done, colours
        )
        right.supylabel("mean reward", fontsize=9)
        right.supxlabel("step", fontsize=9)
        return save(plt, figure, [stem.with_suffix(".svg"), stem.with_suffix(".png")])


def _accuracies(
    axis: Any, data: Mapping[str, Any], done: Sequence[Mapping[str, Any]], colours: Sequence[Any]
) -> None:
    """A dot a mean, a bar its interval, a small dot a seed."""
    low, high = data["base"]["interval"]
    axis.axvspan(100 * low, 100 * high, color=GREY, alpha=0.35, linewidth=0)
    axis.axvline(100 * data["base"]["accuracy"], color="#707070", linewidth=1, linestyle=":")
    axis.annotate(
        "before",
        (100 * data["base"]["accuracy"], 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color="#707070",
    )
    for place, (item, colour) in enumerate(zip(done, colours, strict=True)):
        accuracy = item["accuracy"]
        if accuracy["interval"]:
            axis.plot([100 * end for end in accuracy["interval"]], [place] * 2, color=colour, lw=2)
        seeds = [100 * value for value in accuracy["values"]]
        axis.plot(100 * accuracy["mean"], place, "o", color=colour, markersize=8)
        axis.plot(seeds, [place] * len(seeds), "o", color=colour, mfc="white", markersize=3.5)
    axis.set(
        yticks=range(len(done)),
        yticklabels=[item["label"] for item in done],
        ylim=(len(done) - 0.5, -0.5),
        xlabel=f"% of held-out questions (95% interval, {len(data['seeds'])} seeds)",
    )
    axis.grid(axis="x", color="#e6e6e6")
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _curves(axes: Any, done: Sequence[Mapping[str, Any]], colours: Sequence[Any]) -> None:
    means = [_smooth(item["reward"]) for item in done]
    steps = _points(len(done[0]["reward"]))
    for place, axis in enumerate(axes.flat):
        axis.spines[["top", "right"]].set_visible(False)
        if place >= len(done):
            axis.set_visible(False)
            axes.flat[place - COLUMNS].tick_params(labelbottom=True)
            continue
        for mean in means:
            axis.plot(steps, mean, color=GREY, linewidth=0.6, alpha=0.7)
        seeds = [_smooth(run["reward"]) for run in done[place]["runs"] if not run["failure"]]
        axis.fill_between(
            steps,
            [min(values) for values in zip(*seeds, strict=True)],
            [max(values) for values in zip(*seeds, strict=True)],
            color=colours[place],
            alpha=0.25,
            linewidth=0,
        )
        axis.plot(steps, means[place], color=colours[place], linewidth=1.8)
        axis.set_title(done[place]["label"], fontsize=9, loc="left", pad=3)


def _points(count: int) -> list[int]:
    """The steps of a curve that are drawn, the last one among them."""
    return sorted({round(count * part / POINTS) for part in range(1, POINTS + 1)} - {0})


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of the last twentieth of the steps, at each step that is drawn."""
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, step - window) : step]) for step in _points(len(values))]

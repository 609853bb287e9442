"""Runs -> one picture: a panel a number, a line a run or a band a recipe, accuracies with intervals."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from grpokit.report.canvas import colour, plain, pyplot, save, tidy
from grpokit.report.curves import smoothed
from grpokit.report.exams import Mark
from grpokit.report.points import thinned
from grpokit.report.recipes import Labelled, Varying
from grpokit.report.series import AXES, Axis, Points

__all__ = ["Picture", "band_of", "draw", "titles"]

RAW = 2000
"""Values of a line that are drawn; of more, each is the mean of its share."""
GRID = 400
"""Places at which seeds are averaged over what they have spent."""
KEYS = 2
"""Keys of the recipe that a legend can hold."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn.

    Attributes:
        axis: what lies below.
        smooth: values of the moving average; 1 for none.
        band: seeds of one recipe become their mean in a band from the lowest to the highest.
        marks: accuracies, for a panel of their own; None for no panel.
    """

    runs: Sequence[Labelled]
    names: dict[str, str]
    metrics: Sequence[str]
    axis: Axis = "step"
    smooth: int = 5
    band: bool = False
    marks: Sequence[Mark] | None = None


def titles(runs: Sequence[Labelled], differ: Sequence[Varying]) -> dict[str, str]:
    """What a legend calls each recipe: the one or two keys in which it differs, else its name."""
    keys = [each for each in differ if each.kind == "recipe"]
    found: dict[str, str] = {}
    for each in runs:
        words = plain(each.run.listed.recipe)
        if 1 <= len(keys) <= KEYS:
            words = ", ".join(_value(each, key.what) for key in keys)
        found.setdefault(each.group, plain(words))
    return found


def _value(each: Labelled, key: str) -> str:
    """``lr 0.0005`` of ``optim.lr``."""
    value = each.values.get(key)
    return f"{key.rpartition('.')[2]} {'unset' if value is None else value}"


def draw(picture: Picture, files: Sequence[Path]) -> tuple[Path, ...]:
    """Writes the picture into each file. Equal input gives equal files.

    Raises:
        CheckpointError: a file cannot be written.
    """
    panels = [*picture.metrics, *([] if picture.marks is None else [None])]
    columns = len(panels) if len(panels) < 4 else 2 + (len(panels) > 4)
    rows = math.ceil(len(panels) / columns)
    width = 3.9 * columns + (1.3 if columns == 1 else 0.3)
    with pyplot() as plt:
        figure = plt.figure(layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        legend: dict[str, Any] = {}
        for axis, name in zip(axes.flat, panels, strict=False):
            tidy(axis)
            axis.set_xlabel(AXES[picture.axis])
            new = _accuracies(axis, picture) if name is None else _curves(axis, picture, name)
            legend = new | legend  # a line says more than a mark
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        order = [name for each in picture.runs for name in (each.group, each.label)]
        ordered = sorted(legend, key=lambda name: order.index(name.partition(":")[0]))
        low = _legend(figure, {name: legend[name] for name in ordered}, width)
        figure.set_size_inches(width, 2.7 * rows + low)
        return save(plt, figure, files)


def _legend(figure: Any, entries: dict[str, Any], width: float) -> float:
    """Below everything, in as many columns as fit; returns its height in inches."""
    if not entries:
        return 0.0
    longest = max(map(len, entries))
    columns = min(len(entries), max(1, int(width / (0.45 + 0.072 * longest))))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
    )
    return 0.25 + 0.17 * math.ceil(len(entries) / columns)


def _curves(axis: Any, picture: Picture, name: str) -> dict[str, Any]:
    """Lines of one number; returns them by what the legend says."""
    axis.set_ylabel(plain(name))
    if picture.axis != "step":
        axis.xaxis.set_major_formatter(lambda x, _: _short(x))
    if picture.band:
        return dict(_bands(axis, picture, name))
    return dict(_lines(axis, picture, name))


def _lines(axis: Any, picture: Picture, name: str) -> Iterator[tuple[str, Any]]:
    """The numbers faint, their moving average bold."""
    for place, each in enumerate(picture.runs):
        xs, ys = each.run.points(name, picture.axis)
        if not xs:
            continue
        shade, dashes = colour(place)
        if picture.smooth > 1:
            axis.plot(*_thin(xs, ys), color=shade, alpha=0.25, linewidth=0.8)
        (line,) = axis.plot(
            *_thin(xs, smoothed(ys, picture.smooth)), color=shade, ls=dashes, linewidth=1.7
        )
        yield _title(picture, each), line


def _bands(axis: Any, picture: Picture, name: str) -> Iterator[tuple[str, Any]]:
    for place, group in enumerate(dict.fromkeys(each.group for each in picture.runs)):
        members = [each for each in picture.runs if each.group == group]
        curves = [each.run.points(name, picture.axis) for each in members]
        curves = [(xs, smoothed(ys, picture.smooth)) for xs, ys in curves if xs]
        if not curves:
            continue
        shade, dashes = colour(place)
        xs, mean, low, high = band_of(curves)
        if len(curves) > 1:
            axis.fill_between(xs, low, high, color=shade, alpha=0.2, linewidth=0)
        (line,) = axis.plot(xs, mean, color=shade, ls=dashes, linewidth=1.7)
        seeds = "1 training run" if len(curves) == 1 else f"{len(curves)} seeds, range"
        yield f"{group}: {picture.names[group]}, {seeds}", line


def band_of(
    curves: Sequence[Points],
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Places, means, lowest and highest of several curves, as far as all of them go.

    At the places that all share (steps), else at places in equal distances, on straight lines between values.
    """
    common = set(curves[0][0]).intersection(*(xs for xs, _ in curves[1:]))
    if len(common) == max(len(xs) for xs, _ in curves) or len(common) > GRID:
        places = sorted(common)
    else:
        start, end = max(xs[0] for xs, _ in curves), min(xs[-1] for xs, _ in curves)
        places = [start + (end - start) * k / (GRID - 1) for k in range(GRID)]
        places = places if end > start else [start]
    values = [[_at(xs, ys, place) for xs, ys in curves] for place in places]
    columns = ([fmean(v) for v in values], [min(v) for v in values], [max(v) for v in values])
    thin = [thinned(each, RAW) for each in (places, *columns)]
    return thin[0], thin[1], thin[2], thin[3]


def _at(xs: Sequence[float], ys: Sequence[float], place: float) -> float:
    after = bisect_right(xs, place)
    if after == 0 or after == len(xs):
        return ys[max(0, after - 1)]
    before = after - 1
    share = (place - xs[before]) / (xs[after] - xs[before])
    return ys[before] + share * (ys[after] - ys[before])


def _accuracies(axis: Any, picture: Picture) -> dict[str, Any]:
    """Accuracies with their intervals; those measured during training are joined and open."""
    axis.set_ylabel("% right, held out (95% interval)")
    found: dict[str, Any] = {}
    ends = [each.run.axes[picture.axis].values[-1:] for each in picture.runs
            if picture.axis in each.run.axes]  # fmt: skip
    beside = 0.012 * max((end[0] for end in ends if end), default=1.0)
    groups = list(dict.fromkeys(each.group for each in picture.runs))
    for place, each in enumerate(picture.runs):
        shade, dashes = colour(groups.index(each.group) if picture.band else place)
        aside = beside * (place - (len(picture.runs) - 1) / 2)  # equal steps do not hide each other
        for kind, style in (("stored", "o"), ("during training", "o-")):
            mine = [m for m in picture.marks or () if (m.label, m.kind) == (each.label, kind)]
            spent = [each.run.spent(picture.axis, m.step) for m in mine]
            known = [(x, m) for x, m in zip(spent, mine, strict=True) if x is not None]
            if known:
                bars = axis.errorbar(
                    [x + aside for x, _ in known],
                    [100 * m.accuracy for _, m in known],
                    yerr=[[max(0.0, 100 * (m.accuracy - m.low)) for _, m in known],
                          [max(0.0, 100 * (m.high - m.accuracy)) for _, m in known]],
                    fmt=style,
                    ls="none" if kind == "stored" else dashes,
                    color=shade,
                    mfc=shade if kind == "stored" else "white",
                    markersize=4,
                    capsize=2,
                    linewidth=1.2,
                )  # fmt: skip
                words = "" if kind == "stored" else ", measured during training"
                found[_title(picture, each) + words] = bars
    return {} if picture.band else found  # the bands stand for their runs


def _title(picture: Picture, each: Labelled) -> str:
    seed = "seed unknown" if each.run.seed is None else f"seed {each.run.seed}"
    return f"{each.label}: {picture.names[each.group]}, {seed}"


def _thin(xs: Sequence[float], ys: Sequence[float]) -> Points:
    return thinned(xs, RAW), thinned(ys, RAW)


def _short(value: float) -> str:
    """``7.5k``, ``2M``: what tokens and completions are counted in."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:g}{letter}"
    return f"{value:g}"

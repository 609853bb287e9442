"""Curves of runs drawn with blocks, for a terminal without pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.page import head
from grpokit.cli.runs_compare_show import clipped, number
from grpokit.report.curves import smoothed
from grpokit.report.draw import band_of
from grpokit.report.series import AXES

if TYPE_CHECKING:
    from grpokit.report.draw import Picture
    from grpokit.report.series import Points

__all__ = ["blocks", "show_picture"]

WIDTH = 66
HEIGHT = 4
EIGHTHS = " ▁▂▃▄▅▆▇█"


def show_picture(picture: Picture) -> None:
    """Each number: a small drawing a run, all of one scale; accuracies as a table."""
    for name in picture.metrics:
        curves = _curves(picture, name)
        known = [points for points in curves.values() if points[0]]
        if not known:
            render.say(f"{clipped(name, 40)}: no step that it was written at is known")
            continue
        low = min(min(ys) for _, ys in known)
        high = max(max(ys) for _, ys in known)
        end = max(xs[-1] for xs, _ in known)
        mean = f", mean of {picture.smooth}" if picture.smooth > 1 else ""
        head(f"{clipped(name, 40)} over {AXES[picture.axis]}{mean}")
        for title, points in curves.items():
            if not points[0]:
                continue
            render.say(f"{clipped(title, 56)}, {number(points[1][0])} to {number(points[1][-1])}")
            rows = blocks(points, (low, high), end)
            for place, row in enumerate(rows):
                mark = {0: number(high), len(rows) - 1: number(low)}.get(place, "")
                render.say(f"{mark:>10} │{row}".rstrip())
        render.say(f"{'':>10} └{'─' * WIDTH}")
        last = f"{end:,.0f}" if end >= 10 else f"{end:.3g}"
        render.say(f"{'':>11}0{last:>{WIDTH}}")
    if picture.marks is not None:
        _accuracies(picture)


def _curves(picture: Picture, name: str) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for each in picture.runs:
        xs, ys = each.run.points(name, picture.axis)
        points = (xs, smoothed(ys, picture.smooth))
        seed = "" if each.run.seed is None else f", seed {each.run.seed}"
        found[f"{each.label}: {picture.names[each.group]}{seed}"] = points
    if not picture.band:
        return found
    bands: dict[str, Points] = {}
    for group in dict.fromkeys(each.group for each in picture.runs):
        pairs = zip(picture.runs, found.values(), strict=True)
        mine = [points for each, points in pairs if each.group == group and points[0]]
        if mine:
            xs, mean, _, _ = band_of(mine)
            seeds = "1 training run" if len(mine) == 1 else f"mean of {len(mine)} seeds"
            bands[f"{group}: {picture.names[group]}, {seeds}"] = (xs, mean)
    return bands


def blocks(points: Points, scale: tuple[float, float], end: float) -> list[str]:
    """A drawing of HEIGHT rows, the highest first; empty behind the end of the run.

    A column is the mean of its values, or the last one before it. A value at the bottom of the scale is
    still an eighth high, so that it can be told from no value.
    """
    low, high = scale
    levels = []
    for value in _columns(points, end):
        share = (value - low) / (high - low) if high > low else 0.5
        levels.append(1 + round(share * (8 * HEIGHT - 1)))
    rows = []
    for row in reversed(range(HEIGHT)):
        cells = (min(8, max(0, level - 8 * row)) for level in levels)
        rows.append("".join(EIGHTHS[cell] for cell in cells))
    return rows


def _columns(points: Points, end: float) -> Sequence[float]:
    xs, ys = points
    shares: list[list[float]] = [[] for _ in range(WIDTH)]
    for x, y in zip(xs, ys, strict=True):
        place = math.ceil(x / end * WIDTH) - 1 if end > 0 else 0
        shares[min(WIDTH - 1, max(0, place))].append(y)
    last = max(place for place, share in enumerate(shares) if share)
    found, before = [], ys[0]
    for share in shares[: last + 1]:
        before = fmean(share) if share else before
        found.append(before)
    return found


def _accuracies(picture: Picture) -> None:
    head("held-out accuracy, 95% interval")
    rows = [
        (
            mark.label,
            mark.step,
            f"{100 * mark.accuracy:.1f}%",
            f"[{100 * mark.low:.1f}%, {100 * mark.high:.1f}%]",
            mark.kind,
        )
        for mark in picture.marks or ()
    ]
    if rows:
        render.table(("run", ">step", ">accuracy", ">95% interval", ""), rows)
    else:
        render.say("no run has an evaluation: grpokit eval RUN --base")

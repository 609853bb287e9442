"""Results -> a picture: stages of each contestant as bars, and time and memory as lines over a length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.bench.step.tables import cell_title
from grpokit.report.canvas import pyplot, save

__all__ = ["AXES", "draw", "lines_of"]

STAGES = ("generate", "score", "forward", "backward", "update", "optimizer", "sync", "other")
COLOURS = ("#4c78a8", "#54a24b", "#f58518", "#e45756", "#e45756", "#b279a2", "#72b7b2", "#bab0ac")
PALETTE = ("#4c78a8", "#9ecae9", "#e45756", "#f58518", "#54a24b", "#b279a2", "#72b7b2", "#bab0ac")
AXES = {"group": "completions of a prompt", "completion": "new tokens", "prompt": "prompt tokens"}
"""Sizes over which lines are drawn, with what is written under them."""
COLUMNS = 2


def draw(data: Mapping[str, Any], stem: Path) -> tuple[Path, ...]:
    """Writes ``stem.svg`` and ``stem.png`` and returns them. Equal results give equal files."""
    with pyplot() as plt:
        shown = [
            cell for cell in data["cells"] if any(not e["failure"] for e in cell["contestants"])
        ]
        over = lines_of(data)
        most = max(len(cell["contestants"]) for cell in shown)
        bars = math.ceil(len(shown) / COLUMNS)
        heights = [0.5 + 0.32 * most] * bars + [2.6] * len(over)
        figure = plt.figure(figsize=(11, sum(heights) + 0.6), layout="constrained")
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
        for number, part in enumerate(parts[:bars, 0]):
            axes = part.subplots(1, COLUMNS, squeeze=False)[0]
            for place, axis in enumerate(axes):
                _bars(axis, shown[number * COLUMNS + place :][:1], data)
        for part, (name, fixed, found) in zip(parts[bars:, 0], over, strict=True):
            _lines(part, name, fixed, found)
        _stage_legend(figure, shown)
        return save(plt, figure, [stem.with_suffix(".svg"), stem.with_suffix(".png")])


def _bars(axis: Any, cells: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> None:
    """One bar a contestant, from the left in the order of the stages."""
    if not cells:
        axis.set_axis_off()
        return
    done = [each for each in cells[0]["contestants"] if not each["failure"]]
    for row, each in enumerate(done):
        start = 0.0
        for stage, colour in zip(STAGES, COLOURS, strict=True):
            width = each["seconds"][stage]["median"]
            axis.barh(row, width, left=start, color=colour, height=0.7)
            start += width
        axis.annotate(
            f"{start:.3g} s", (start, row), xytext=(3, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(range(len(done)), [each["label"] for each in done])
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_title(cell_title(cells[0], data), fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("seconds of a step")


def _stage_legend(figure: Any, cells: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.patches import Patch

    done = [each for cell in cells for each in cell["contestants"] if not each["failure"]]
    seen = [s for s in STAGES if any(each["seconds"][s]["median"] > 0 for each in done)]
    colours = dict(zip(STAGES, COLOURS, strict=True))
    patches = [Patch(color=colours[stage], label=stage) for stage in seen]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(seen), frameon=False)


def lines_of(
    data: Mapping[str, Any],
) -> list[tuple[str, str, dict[str, list[tuple[int, float, float | None]]]]]:
    """(axis, what the rest is, label -> (size, seconds, bytes)) where three or more sizes were measured."""
    found = []
    for name in AXES:
        series: dict[str, list[Mapping[str, Any]]] = {}
        for cell in data["cells"]:
            rest = {k: cell[k] for k in ("dtype", *AXES, "keep") if k != name}
            words = ", ".join(f"{k} {v}" if k != "dtype" else str(v) for k, v in rest.items())
            series.setdefault(words, []).append(cell)
        for words, cells in series.items():
            if len({cell[name] for cell in cells}) < 3:
                continue
            lines: dict[str, list[tuple[int, float, float | None]]] = {}
            for cell in sorted(cells, key=lambda each: each[name]):
                for each in cell["contestants"]:
                    if not each["failure"]:
                        point = (cell[name], each["step"], each["memory"])
                        lines.setdefault(each["label"], []).append(point)
            found.append((name, words, lines))
    return found


def _lines(
    part: Any, name: str, fixed: str, found: Mapping[str, Sequence[tuple[int, float, float | None]]]
) -> None:
    """Left the time, right the memory, from zero: what grows linearly is a straight line."""
    left, right = part.subplots(1, 2)
    for (label, points), colour in zip(found.items(), PALETTE, strict=False):
        sizes = [size for size, _, _ in points]
        left.plot(sizes, [s for _, s, _ in points], "o-", color=colour, label=label)
        if all(memory is not None for _, _, memory in points):
            memories = [(memory or 0) / 2**30 for _, _, memory in points]
            right.plot(sizes, memories, "o-", color=colour, label=label)
    for axis, words in ((left, "seconds of a step"), (right, "peak memory, GiB")):
        axis.set_xlabel(AXES[name])
        axis.set_ylabel(words)
        axis.margins(0.08)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    left.set_title(fixed, fontsize=9, loc="left")

"""Pictures of an evaluation: accuracy over the checkpoints of a run, and accuracy over cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.evaluate.ladder import Point
from grpokit.evaluate.pareto import frontier

__all__ = ["Spot", "draw_costs", "draw_curve", "drawable"]

GREY = "#707070"
COLOUR = "#1f77b4"


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A model by what a question costs and how often it is right."""

    label: str
    cost: float
    accuracy: float
    interval: tuple[float, float]


def drawable() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_curve(points: Sequence[Point], stem: Path) -> tuple[Path, ...]:
    """Accuracy with its interval at each checkpoint, a line a run; step 0 is the model before training."""
    figure, axis = _figure()
    for number, run in enumerate(dict.fromkeys(point.run for point in points)):
        own = [point for point in points if point.run == run]
        steps = [point.step for point in own]
        colour = f"C{number}"
        name = run.replace("$", r"\$")  # no formula
        axis.plot(steps, [100 * point.accuracy for point in own], "o-", color=colour, label=name)
        for point in own:
            _bar(axis, [point.step] * 2, point.interval, colour)
    axis.set(xlabel="step", ylabel="% of held-out questions (95% interval)")
    axis.legend(frameon=False, fontsize=8)
    return _write(figure, stem)


def draw_costs(spots: Sequence[Spot], stem: Path) -> tuple[Path, ...]:
    """Accuracy with its interval over the cost of a question, logarithmic, and the frontier as a line."""
    figure, axis = _figure()
    best = frontier([(spot.cost, spot.accuracy) for spot in spots])
    line = sorted(
        (spot.cost, 100 * spot.accuracy) for spot, on in zip(spots, best, strict=True) if on
    )
    axis.set_xscale("log")
    axis.step([x for x, _ in line], [y for _, y in line], where="post", color=GREY, lw=1, zorder=1)
    for spot, on in zip(spots, best, strict=True):
        _bar(axis, [spot.cost] * 2, spot.interval, COLOUR)
        face = COLOUR if on else "white"
        axis.plot(spot.cost, 100 * spot.accuracy, "o", color=COLOUR, mfc=face, markersize=7)
        where = (spot.cost, 100 * spot.accuracy)
        axis.annotate(
            spot.label,
            where,
            xytext=(7, 4),
            textcoords="offset points",
            fontsize=8,
            parse_math=False,
        )
    axis.set(xlabel="cost of a question", ylabel="% of held-out questions (95% interval)")
    return _write(figure, stem)


def _bar(axis: Any, x: Sequence[float], interval: tuple[float, float], colour: str) -> None:
    axis.plot(x, [100 * end for end in interval], color=colour, lw=1.5, alpha=0.6)


def _figure() -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": "grpokit", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6.5, 4.0), layout="constrained")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#e6e6e6")
    axis.set_axisbelow(True)
    return figure, axis


def _write(figure: Any, stem: Path) -> tuple[Path, ...]:
    """SVG and PNG; equal results give equal files."""
    from matplotlib import pyplot as plt

    files = tuple(stem.with_suffix(suffix) for suffix in (".svg", ".png"))
    for path in files:
        extra = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, metadata=extra, dpi=110)
    plt.close(figure)
    return files

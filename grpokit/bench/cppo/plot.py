"""Results -> a picture: accuracy against training time, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.report.canvas import pyplot, save

__all__ = ["draw"]

STAGES = {"generate": "#4c78a8", "score": "#f2a541", "update": "#c8553d", "other": "#b8b8b8"}
"""Stage -> colour of its bar."""
KINDS = {
    "CPPO": ("o", "#5b8e7d", "CPPO without allocation"),
    "CPPO alloc": ("s", "#3d5a80", "CPPO with allocation"),
    "CPPO alloc lr": ("v", "#b5838d", "CPPO, larger learning rate"),
    "CPPO alloc skip": ("^", "#9c6644", "CPPO skipping"),
}
"""Method -> marker, colour and name of a row of CPPO."""
GRPO = {False: "GRPO", True: "GRPO, skipping"}


def draw(data: Mapping[str, Any], stem: Path) -> tuple[Path, ...]:
    """Writes ``stem.svg`` and ``stem.png`` and returns them. Equal results give equal files."""
    with pyplot() as plt:
        done = [item for item in data["algorithms"] if item["accuracy"] is not None]
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(11.5, 1.6 + 0.32 * max(len(done), 8)), layout="constrained"
        )
        _accuracies(left, data, done)
        _stages(right, done)
        return save(plt, figure, [stem.with_suffix(".svg"), stem.with_suffix(".png")])


def _accuracies(axis: Any, data: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> None:
    """A mark a row, a bar its interval; rates of one kind are joined."""
    low, high = (100 * end for end in data["base"]["interval"])
    axis.axhspan(low, high, color="#b8b8b8", alpha=0.35, linewidth=0, label="before training")
    for skipping, name in GRPO.items():
        found = [item for item in done if not item["rate"] and item["skipping"] == skipping]
        _marks(axis, found, "D", "#404040" if not skipping else "#8a8a8a", name)
    for method, (marker, colour, name) in KINDS.items():
        found = [item for item in done if item["method"] == method]
        _marks(axis, found, marker, colour, name)
    axis.set(xlabel="seconds of training a run", ylabel="% of held-out questions (95% interval)")
    axis.set_xlim(left=0)
    axis.grid(color="#e6e6e6")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)


def _marks(
    axis: Any, rows: Sequence[Mapping[str, Any]], marker: str, colour: str, name: str
) -> None:
    if not rows:
        return
    seconds = [item["seconds"]["total"] for item in rows]
    means = [100 * item["accuracy"]["mean"] for item in rows]
    axis.plot(seconds, means, marker=marker, color=colour, lw=0.8, ls=":", ms=7, label=name)
    for item, place, mean in zip(rows, seconds, means, strict=True):
        if item["accuracy"]["interval"]:
            ends = [100 * end for end in item["accuracy"]["interval"]]
            axis.plot([place] * 2, ends, color=colour, lw=1.2, alpha=0.6)
        if item["rate"]:
            axis.annotate(
                f"{item['rate']:g}",
                (place, mean),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )


def _stages(axis: Any, done: Sequence[Mapping[str, Any]]) -> None:
    """A bar a row, cut into stages."""
    ends = [0.0] * len(done)
    for name, colour in STAGES.items():
        widths = [item["seconds"][name] for item in done]
        axis.barh(range(len(done)), widths, left=ends, color=colour, label=name, height=0.7)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for place, (item, end) in enumerate(zip(done, ends, strict=True)):
        ratio = item["ratio"]["total"]
        if place and ratio:
            axis.annotate(
                f"{ratio['mean']:.2f}x",
                (end, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color="#404040",
            )
    axis.set(
        yticks=range(len(done)),
        yticklabels=[item["label"] for item in done],
        ylim=(len(done) - 0.5, -0.5),
        xlabel="seconds of training a run, and how many times faster than GRPO",
    )
    axis.margins(x=0.1)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="lower right")

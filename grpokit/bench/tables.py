"""Results as tables: rows of text for a terminal of 80 columns, and one wide table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["accuracy_rows", "legend", "markdown", "percent", "time_rows", "work_rows"]

Row = tuple[str, ...]
ACCURACY = ("algorithm", ">correct", ">95% interval", ">vs first, points", "verdict")
TIME = ("algorithm", "reward", ">last", ">generate", ">score", ">update", ">total")
WORK = ("algorithm", ">completions", ">trained", ">dead", ">tokens", ">updates")
CURVE = 8
"""Blocks of a reward curve."""


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}%"


def accuracy_rows(data: Mapping[str, Any]) -> list[Row]:
    """Who learnt it. The base model, which all began with, comes first."""
    base = data["base"]
    low, high = base["interval"]
    rows: list[Row] = [("(before)", percent(base["accuracy"]), _short(low, high), "", "")]
    for item in data["algorithms"]:
        if item["accuracy"] is None:
            rows.append((item["label"], "failed", "", "", ""))
            continue
        interval = item["accuracy"]["interval"]
        rows.append(
            (
                item["label"],
                percent(item["accuracy"]["mean"]),
                _short(*interval) if interval else "one seed",
                _points(item["difference"]),
                item["difference"]["verdict"] if item["difference"] else "",
            )
        )
    return rows


def time_rows(data: Mapping[str, Any], sparkline: Any) -> list[Row]:
    """How the reward went, and seconds a run."""
    names = ("generate", "score", "update", "total")
    return [
        (
            item["label"],
            sparkline(item["reward"], CURVE),
            f"{item['reward_last']['mean']:.2f}",
            *(f"{item['seconds'][name]:.1f}" for name in names),
        )
        for item in _done(data)
    ]


def work_rows(data: Mapping[str, Any]) -> list[Row]:
    """What a run generated and trained on."""
    return [
        (
            item["label"],
            f"{item['completions']:.0f}",
            percent(item["trained"] / item["completions"], 0),
            percent(item["dead_groups"], 0),
            f"{item['tokens']:.0f}",
            f"{item['optimizer_steps']:.0f}",
        )
        for item in _done(data)
    ]


def legend(data: Mapping[str, Any]) -> list[str]:
    """What the tables mean, and what they do not say."""
    seeds, first = len(data["seeds"]), data["algorithms"][0]["label"]
    compared = len(data["algorithms"]) - 1
    head = (
        f"{data['questions']} held-out questions, {seeds} seed{'s' if seeds > 1 else ''}, "
        f"{data['steps']} steps of {data['prompts']} x {data['group']} completions."
    )
    if seeds < 2:
        return [head, "One seed tells nothing about another one: ask for --seeds 3 or more."]
    lines = [head, "Intervals are Student's t over the seeds; that of (before) is Wilson's."]
    if compared:
        lines.append(
            f"The verdict on the difference to {first}, paired by seed, is `unclear` where its 95% "
            "interval contains 0: then no order of the two was seen."
        )
    if compared > 1:
        chance = 1 - 0.95**compared
        lines.append(
            f"Each verdict stands for itself. Of {compared} equal algorithms at least one would seem "
            f"better or worse in up to {percent(chance, 0)} of all such comparisons."
        )
    return lines


def markdown(data: Mapping[str, Any]) -> str:
    """One table with everything, for a page."""
    heads = [
        "algorithm",
        "correct (95% interval)",
        f"minus {data['algorithms'][0]['label']}, points",
        "verdict",
        "reward at the end",
        "s generate / score / update / other",
        "completions",
        "trained",
        "dead groups",
        "tokens",
        "optimiser steps",
    ]
    base = data["base"]
    before = f"{percent(base['accuracy'])} ({_range(*base['interval'])})"
    rows: list[Sequence[str]] = [["*(before)*", before, *[""] * (len(heads) - 2)]]
    rows += [_markdown_row(item, len(heads)) for item in data["algorithms"]]
    rule = ["---", "---:", "---:", "---", *["---:"] * (len(heads) - 4)]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
    return "\n".join(lines) + "\n"


def _markdown_row(item: Mapping[str, Any], width: int) -> list[str]:
    label = "`" + item["label"].replace("|", "\\|").replace("`", "'") + "`"
    if item["accuracy"] is None:
        return [label, "failed", *[""] * (width - 2)]
    accuracy, seconds = item["accuracy"], item["seconds"]
    interval = _range(*accuracy["interval"]) if accuracy["interval"] else "one seed"
    stages = (f"{seconds[name]:.1f}" for name in ("generate", "score", "update", "other"))
    failed = f", {item['failed']} failed" if item["failed"] else ""
    return [
        label,
        f"{percent(accuracy['mean'])} ({interval}{failed})",
        _points(item["difference"]),
        item["difference"]["verdict"] if item["difference"] else "",
        f"{item['reward_last']['mean']:.3f}",
        " / ".join(stages),
        f"{item['completions']:.0f}",
        f"{item['trained']:.0f} ({percent(item['trained'] / item['completions'], 0)})",
        percent(item["dead_groups"], 0),
        f"{item['tokens']:.0f}",
        f"{item['optimizer_steps']:.0f}",
    ]


def _done(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in data["algorithms"] if item["accuracy"] is not None]


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _short(low: float, high: float) -> str:
    return f"{100 * low:.1f}-{100 * high:.1f}"


def _points(difference: Mapping[str, Any] | None) -> str:
    if difference is None:
        return ""
    mean = f"{100 * difference['mean']:+.1f}"
    if difference["interval"] is None:
        return mean
    low, high = difference["interval"]
    return f"{mean} ({100 * low:+.1f} to {100 * high:+.1f})"

"""Held-out evaluations as the page shows them: accuracies with their intervals, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.report.charts import COLOURS, draw
from grpokit.report.markup import Html, table, tag
from grpokit.report.pictures import held_out_chart
from grpokit.report.points import finite
from grpokit.report.reading import RunData, as_mapping
from grpokit.report.sections import section, short_text

__all__ = ["results"]

VERDICTS = ("improved", "worse")
WIDTH = 170


def results(runs: Sequence[RunData]) -> Html | str:
    """Those made during training and those of ``eval/``; several runs side by side."""
    during = draw(held_out_chart(runs))
    rows, verdicts = [], []
    for place, run in enumerate(runs):
        for name, data in run.evaluations.items():
            whose = f"{run.label}, {name}" if len(runs) > 1 else name
            rows += _rows(whose, place, data)
            verdict = _verdict(whose, as_mapping(data.get("comparison")))
            if verdict:
                verdicts.append(verdict)
    if not rows and during is None:
        return ""
    heads = (
        "evaluation",
        "model",
        ">accuracy",
        "95 % interval",
        ">questions",
        ">truncated",
        ">tokens",
    )
    listed = table(heads, rows) if rows else ""
    return section("evaluations", "Held-out evaluations", during or "", *verdicts, listed)


def _rows(whose: str, place: int, data: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A row a model, and one a ``k`` of pass@k where a question has several answers."""
    found: list[tuple[object, ...]] = []
    models = data.get("models")
    for each in models if isinstance(models, list) else ():
        if not isinstance(each, Mapping) or (share := finite(each.get("accuracy"))) is None:
            continue
        label = short_text(each.get("label", ""), 80)
        truncated, tokens = finite(each.get("truncated")), finite(each.get("tokens_mean"))
        more = (
            short_text(each.get("items", ""), 20),
            "" if truncated is None else _percent(truncated),
            "" if tokens is None else f"{tokens:.1f}",
        )
        bar = _bar(share, each.get("interval"), place)
        found.append(("" if found else whose, label, _percent(share), bar, *more))
        for k, value in as_mapping(each.get("pass_at")).items():
            told = as_mapping(value)
            if k != "1" and (share := finite(told.get("value"))) is not None:
                bar = _bar(share, told.get("interval"), place)
                found.append(
                    ("", f"{label}, pass@{short_text(k, 20)}", _percent(share), bar, *[""] * 3)
                )
    return found


def _bar(share: float, interval: object, place: int) -> Html:
    """The interval on a line from 0 to 1, and in words."""
    ends = _ends(interval)
    if ends is None:
        return tag("span", "not given")
    low, high, value = (max(0.0, min(1.0, n)) * WIDTH + 4 for n in (*ends, share))
    words = f"{_percent(ends[0])} to {_percent(ends[1])}"
    look = f"c{place % COLOURS}"
    picture = tag(
        "svg",
        tag("title", words),
        tag("line", class_="grid", x1=4, x2=WIDTH + 4, y1=8, y2=8),
        tag("path", class_=f"bar {look}", d=f"M{low:.1f} 8H{high:.1f}"),
        tag("circle", class_=f"dot {look}", cx=f"{value:.1f}", cy=8, r=4),
        viewBox=f"0 0 {WIDTH + 8} 16",
        class_="interval",
        role="img",
    )
    return tag("div", picture, " ", tag("span", words, class_="nowrap"))


def _verdict(whose: str, found: Mapping[str, Any]) -> Html | None:
    ends, difference = _ends(found.get("interval")), finite(found.get("difference"))
    if ends is None or difference is None:
        return None
    p, smallest = (
        finite(found.get("p", found.get("mcnemar_p"))),
        finite(found.get("minimum_detectable")),
    )
    low, high = (f"{100 * end:+.1f}" for end in ends)
    parts = [f"{100 * difference:+.1f} points, 95 % interval {low} to {high}"]
    if p is not None:
        parts.append(f"p = {p:.2g}")
    parts.append(f"{short_text(found.get('n', '?'), 20)} questions")
    if smallest is not None:
        parts.append(f"smallest detectable difference {100 * smallest:.1f} points")
    verdict = short_text(found.get("verdict", ""), 40)
    kind = verdict if verdict in VERDICTS else "unclear"
    badge = tag("span", verdict, class_=f"badge {kind}")
    return tag("p", badge, f" {whose}: {'; '.join(parts)}", class_="verdict")


def _ends(interval: object) -> tuple[float, float] | None:
    if not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = (finite(each) for each in interval)
    return None if low is None or high is None else (low, high)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"

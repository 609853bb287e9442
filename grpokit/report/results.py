"""Held-out evaluations as the page shows them: accuracies with their intervals, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grpokit.report.charts import draw
from grpokit.report.curves import held_out_chart
from grpokit.report.markup import Html, table, tag
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
    heads = ("evaluation", "model", ">accuracy", "95 % interval", ">questions", ">truncated", ">tokens")
    listed = table(heads, rows) if rows else ""
    return section("evaluations", "Held-out evaluations", during or "", *verdicts, listed)


def _rows(whose: str, place: int, data: Mapping[str, Any]) -> list[tuple[object, ...]]:
    found = []
    models = data.get("models")
    for number, each in enumerate(models if isinstance(models, list) else ()):
        if not isinstance(each, Mapping) or not _is_number(each.get("accuracy")):
            continue
        tokens = each.get("tokens_mean")
        found.append(
            (
                whose if not number else "",
                short_text(each.get("label", ""), 80),
                _percent(each["accuracy"]),
                _bar(each, place),
                short_text(each.get("items", ""), 20),
                _percent(each["truncated"]) if _is_number(each.get("truncated")) else "",
                f"{tokens:.1f}" if _is_number(tokens) else "",
            )
        )
    return found


def _bar(each: Mapping[str, Any], place: int) -> Html:
    """The interval on a line from 0 to 1, and in words."""
    interval = each.get("interval")
    if not (isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval))):
        return tag("span", "not given")
    low, high, value = (max(0.0, min(1.0, n)) * WIDTH for n in (*interval, each["accuracy"]))
    words = f"{_percent(interval[0])} to {_percent(interval[1])}"
    look = f"c{place % 8}"
    picture = tag(
        "svg",
        tag("title", words),
        tag("line", class_="grid", x1=4, x2=WIDTH + 4, y1=8, y2=8),
        tag("path", class_=f"bar {look}", d=f"M{low + 4:.1f} 8H{high + 4:.1f}"),
        tag("circle", class_=f"dot {look}", cx=f"{value + 4:.1f}", cy=8, r=4),
        viewBox=f"0 0 {WIDTH + 8} 16",
        class_="interval",
        role="img",
    )
    return tag("div", picture, " ", tag("span", words, class_="nowrap"))


def _verdict(whose: str, found: Mapping[str, Any]) -> Html | None:
    interval = found.get("interval")
    given = isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval))
    if not given or not _is_number(found.get("difference")):
        return None
    verdict = short_text(found.get("verdict", ""), 40)
    p, smallest = found.get("p", found.get("mcnemar_p")), found.get("minimum_detectable")
    parts = [
        f"{100 * found['difference']:+.1f} points, 95 % interval "
        f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}",
        f"p = {p:.2g}" if _is_number(p) else "",
        f"{short_text(found.get('n', '?'), 20)} questions",
        f"smallest detectable difference {100 * smallest:.1f} points" if _is_number(smallest) else "",
    ]
    kind = verdict if verdict in VERDICTS else "unclear"
    told = "; ".join(part for part in parts if part)
    return tag(
        "p", tag("span", verdict, class_=f"badge {kind}"), f" {whose}: {told}", class_="verdict"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300

"""An evaluation for people: accuracies with intervals, the comparison, answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpokit.cli import render

if TYPE_CHECKING:
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.records import Evaluation, Item

__all__ = ["show_evaluation"]

SAMPLES = 3
TEXT = 600
"""Characters of an answer that are shown."""
ROWS = 8
"""Rows of a list that are shown."""


def show_evaluation(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> None:
    """One model, or two with their comparison."""
    first = evaluations[0]
    temperature = first.fingerprint["sampling"]["temperature"]
    drawn = f"sampled at temperature {temperature:g}" if temperature else "greedy"
    render.say(
        f"{len(first.items)} held-out questions, {drawn}; correct means {first.decides} >= "
        f"{first.threshold:g}"
    )
    render.say()
    _accuracies(evaluations)
    render.say()
    _rewards(evaluations)
    if comparison is not None:
        render.say()
        _comparison(evaluations[0], evaluations[1], comparison)
    _samples(evaluations, comparison)


def percent(share: float) -> str:
    """``12.5%``."""
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """``+3.4``: percentage points with a sign."""
    return f"{100 * difference:+.1f}"


def _accuracies(evaluations: Sequence[Evaluation]) -> None:
    rows = []
    for each in evaluations:
        low, high = each.interval
        rows.append(
            (
                each.label,
                f"{each.right}/{len(each.items)}",
                percent(each.accuracy),
                f"[{percent(low)}, {percent(high)}]",
                percent(each.truncated),
                each.failed,
            )
        )
    columns = ["model", ">correct", ">accuracy", ">95% interval", ">truncated", ">not scored"]
    render.table(columns, rows)


def _rewards(evaluations: Sequence[Evaluation]) -> None:
    means = [each.rewards() for each in evaluations]
    render.table(
        ["mean reward", *(f">{each.label}" for each in evaluations)],
        [
            (name, *("-" if (value := mean[name]) is None else f"{value:.3f}" for mean in means))
            for name in means[0]
        ],
    )
    for each in evaluations:
        if each.abstained:
            render.say(
                f"{each.label}: {each.decides} did not apply to {each.abstained} answers, "
                "which count as wrong",
                "yellow",
            )


def _comparison(first: Evaluation, second: Evaluation, found: Comparison) -> None:
    low, high = found.interval
    style = {"improved": "bold green", "worse": "bold red"}.get(found.verdict, "bold")
    render.say(f"{second.label} against {first.label}: {found.sentence}", style)
    render.say(
        f"  difference  {points(found.difference)} points, 95% interval "
        f"[{points(low)}, {points(high)}], McNemar {_p(found.p)}"
    )
    rows = {item.id: item.index for item in first.items}
    render.say(f"  wrong to right  {_listed([rows[each] for each in found.gained])}")
    render.say(f"  right to wrong  {_listed([rows[each] for each in found.lost])}")
    same = all(a.text == b.text for a, b in zip(first.items, second.items, strict=True))
    if same and first.items:
        render.say("  every answer is the same, word for word: is this a trained model?", "yellow")


def _p(value: float) -> str:
    return f"p = {value:.3g}" if value >= 1e-4 else "p < 0.0001"


def _listed(rows: Sequence[int]) -> str:
    """``22 (rows 4, 5, 7 and 19 more)``."""
    if not rows:
        return "0"
    more = f" and {len(rows) - ROWS} more" if len(rows) > ROWS else ""
    word = "row" if len(rows) == 1 else "rows"
    return f"{len(rows)} ({word} {', '.join(map(str, rows[:ROWS]))}{more})"


def _samples(evaluations: Sequence[Evaluation], comparison: Comparison | None) -> None:
    """Changed answers first: a gain, a loss, then what comes."""
    items = {item.id: item for item in evaluations[-1].items}
    wanted: list[str] = []
    if comparison is not None:
        wanted = [*comparison.gained[:1], *comparison.lost[:1], *comparison.gained[1:2]]
    wanted += [each for each in items if each not in wanted]
    by_label = [(each.label, {item.id: item for item in each.items}) for each in evaluations]
    for each in wanted[:SAMPLES]:
        item = items[each]
        render.say()
        render.say(f"item {each[:8]} (row {item.index})", "bold")
        _block("question", item.question)
        if item.answer is not None:
            _block("gold", str(item.answer))
        for label, found in by_label:
            _answer(label, found[each])


def _answer(label: str, item: Item) -> None:
    mark = "right" if item.correct else "wrong"
    cut = ", cut off" if item.finish == "length" else ""
    _block(f"{label} ({mark}{cut})", item.text, "green" if item.correct else "red")


def _block(label: str, text: str, style: str = "") -> None:
    render.say(f"  {label}", style)
    shown = render.safe(text.strip("\n"), limit=TEXT)
    for line in shown.splitlines() or [""]:
        render.say(f"    {line}".rstrip())

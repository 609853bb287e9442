"""An evaluation for people: accuracies with intervals, the comparison, answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.eval_measures import percent, show_beside, show_details, show_oddities

if TYPE_CHECKING:
    from grpokit.evaluate.intervals import Interval
    from grpokit.evaluate.overlap import Overlap
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.records import Evaluation, Item

__all__ = ["accuracies", "heading", "points", "show_evaluation"]

SAMPLES = 3
TEXT = 600
"""Characters of an answer that are shown."""
ROWS = 8
"""Rows of a list that are shown."""
TESTS = {"mcnemar": "McNemar", "sign-flip": "sign-flip"}
CHANGES = ("wrong to right", "right to wrong")


def show_evaluation(
    evaluations: Sequence[Evaluation],
    comparison: Comparison | None,
    overlap: Overlap | None = None,
    *,
    details: bool = False,
) -> None:
    """One model, or two with their comparison; ``details``: every rate as well."""
    first = evaluations[0]
    heading(first)
    render.say()
    accuracies(evaluations)
    show_beside(evaluations)
    if first.samples > 1:
        render.say()
        _passes(evaluations)
    render.say()
    _rewards(evaluations)
    render.say()
    _answers(evaluations)
    if details:
        show_details(evaluations)
    if comparison is not None:
        render.say()
        _comparison(evaluations[0], evaluations[1], comparison)
    show_oddities(evaluations, comparison, overlap)
    _samples(evaluations, comparison)


def heading(first: Evaluation) -> None:
    """What was asked, and what counts as correct."""
    temperature = first.fingerprint["sampling"]["temperature"]
    drawn = f"sampled at temperature {temperature:g}" if temperature else "greedy"
    often = f", {first.samples} answers to each" if first.samples > 1 else ""
    render.say(f"{len(first.counts)} held-out questions{often}, {drawn}")
    loosely = f"; leniently {first.measured.lenient}" if first.measured.lenient else ""
    render.say(f"correct means {first.decides} >= {first.threshold:g}{loosely}")


def points(difference: float) -> str:
    """``+3.4``: percentage points with a sign."""
    return f"{100 * difference:+.1f}"


def accuracies(evaluations: Sequence[Evaluation]) -> None:
    """A row a model: how many are right, with the interval."""
    rows = []
    for each in evaluations:
        low, high = each.interval
        rows.append(
            (
                each.label,
                f"{each.right}/{len(each.items)}",
                percent(each.accuracy),
                _within((low, high)),
                percent(each.truncated),
                each.failed,
            )
        )
    columns = ["model", ">correct", ">accuracy", ">95% interval", ">truncated", ">not scored"]
    render.table(columns, rows)


def _passes(evaluations: Sequence[Evaluation]) -> None:
    """A row a k: the chance that one of k answers is right, and that the one most of them give is.

    A vote needs three: two that differ are a tie.
    """
    passes = [each.passes for each in evaluations]
    votes = [{k: found[:2] for k, found in each.majority.items()} for each in evaluations]
    rows = [_by_k(f"pass@{k}", k, passes) for k in passes[0]]
    rows += [_by_k(f"maj@{k}", k, votes) for k in votes[0] if k > 2 and all(votes)]
    columns = ["one / most of k right"]
    for each in evaluations:
        columns += [f">{each.label}", ">95% interval"]
    render.table(columns, rows)
    tied = [sum(ballot.tied for ballot in each.ballots) for each in evaluations]
    if len(rows) > len(passes[0]) and any(tied):
        told = ", ".join(f"{each.label} {n}" for each, n in zip(evaluations, tied, strict=True))
        first = evaluations[0]
        render.say(f"of {len(first.counts)} votes of all {first.samples} answers are tied: {told}")


def _by_k(
    name: str, k: int, found: Sequence[Mapping[int, tuple[float, Interval]]]
) -> tuple[str, ...]:
    cells = [text for each in found for text in (percent(each[k][0]), _within(each[k][1]))]
    return (name, *cells)


def _within(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"[{percent(low)}, {percent(high)}]"


def _answers(evaluations: Sequence[Evaluation]) -> None:
    """How long right and wrong answers are, and how much they repeat."""
    rows = []
    for name, correct in (("right", True), ("wrong", False)):
        for each in evaluations:
            found = each.lengths(correct=correct)
            if found is not None:
                numbers = (f"{found['mean']:.1f}", found["median"], found["p95"], found["most"])
                rows.append((f"{each.label}, {name}", *numbers))
    render.table(["tokens of answers", ">mean", ">median", ">95% below", ">most"], rows)


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
        f"[{points(low)}, {points(high)}], {TESTS[found.test]} {_p(found.p)}"
    )
    rows = {item.id: item.index for item in first.items}
    words = ("right more often", "right less often") if found.samples > 1 else CHANGES
    for word, changed in zip(words, (found.gained, found.lost), strict=True):
        render.say(f"  {word}  {_listed([rows[each] for each in changed])}")
    if found.samples > 1:
        render.say(
            f"  solved only by {second.label}  {_listed([rows[each] for each in found.support_gained])}"
        )
        render.say(
            f"  solved only by {first.label}  {_listed([rows[each] for each in found.support_lost])}"
        )
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
    items = _first_answers(evaluations[-1])
    wanted: list[str] = []
    if comparison is not None:
        wanted = [*comparison.gained[:1], *comparison.lost[:1], *comparison.gained[1:2]]
    wanted += [each for each in items if each not in wanted]
    by_model = [(each, _first_answers(each)) for each in evaluations]
    for each in wanted[:SAMPLES]:
        item = items[each]
        render.say()
        render.say(f"item {each[:8]} (row {item.index})", "bold")
        _block("question", item.question)
        if item.answer is not None:
            _block("gold", str(item.answer))
        for model, found in by_model:
            _answer(model, found[each])


def _first_answers(evaluation: Evaluation) -> dict[str, Item]:
    """Question -> the first of its answers."""
    return {item.id: item for item in evaluation.items if item.sample == 0}


def _answer(model: Evaluation, item: Item) -> None:
    mark = "right" if item.correct else "wrong"
    cut = ", cut off" if item.finish == "length" else ""
    often = (
        f"{model.counts[item.id]} of {model.samples} right; the first: "
        if model.samples > 1
        else ""
    )
    _block(f"{model.label} ({often}{mark}{cut})", item.text, "green" if item.correct else "red")


def _block(label: str, text: str, style: str = "") -> None:
    render.say(f"  {label}", style)
    shown = render.safe(text.strip("\n"), limit=TEXT)
    for line in shown.splitlines() or [""]:
        render.say(f"    {line}".rstrip())

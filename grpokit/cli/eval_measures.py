"""What stands beside an accuracy, for people: a few rows always, all of them with --details, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from grpokit.cli import render

if TYPE_CHECKING:
    from grpokit.evaluate.overlap import Overlap
    from grpokit.evaluate.paired import Comparison
    from grpokit.evaluate.records import Evaluation

__all__ = ["percent", "show_beside", "show_details", "show_oddities"]

CONSTANT = 0.2
"""How much more frequent than the most frequent gold answer one answer must be to be told."""
EXAMPLES = 3
SHOWN = 40
"""Characters of an answer that are shown."""
WIDTH = 80
LEVELS = {"exact": "equal", "normal": "equal but for case and punctuation", "part": "in part"}


def percent(share: float | None) -> str:
    """``12.5%``."""
    return "-" if share is None else f"{100 * share:.1f}%"


def show_beside(evaluations: Sequence[Evaluation]) -> None:
    """The lenient reading, answers that could not be read, the form, calibration: where there are such."""
    rows = [
        *_row("right, read leniently", evaluations, _lenient),
        *_row("no answer read", evaluations, lambda each: each.rates["no_answer"]),
    ]
    for name in evaluations[0].measured.forms:
        rows += _row(f"{name} in full", evaluations, _form(name))
    if rows:
        render.say()
        render.table(["of all answers", *_heads(evaluations)], rows)
    if any(each.calibration for each in evaluations):
        render.say()
        _calibration(evaluations)


def show_details(evaluations: Sequence[Evaluation]) -> None:
    """Everything else that ``summary.json`` holds."""
    rows = [
        *_row("ended by themselves", evaluations, lambda each: each.rates["ended"]),
        *_row("right, of those not cut off", evaluations, lambda each: each.accuracy_not_truncated),
        *_row("thinking left open", evaluations, lambda each: each.rates["unclosed_thinking"]),
        *_row("comparison given up", evaluations, lambda each: each.rates["undecided"] or None),
        *_row("repeated runs of 4 words", evaluations, lambda each: each.repetition),
        *_row("most frequent answer", evaluations, lambda each: _constant(each, "share")),
        *_row("most frequent gold answer", evaluations, lambda each: _constant(each, "gold_share")),
    ]
    counts = {
        "not marked in time": "timeouts",
        "not marked, other reasons": "errors",
        "could not be read": "unread",
        "dropped": "dropped",
    }
    rows += [
        (name, *(str(each.rates[key]) for each in evaluations)) for name, key in counts.items()
    ]
    render.say()
    render.table(["details", *_heads(evaluations)], rows)
    _words(evaluations)
    for each in evaluations:
        _bins(each)


def show_oddities(
    evaluations: Sequence[Evaluation], comparison: Comparison | None, overlap: Overlap | None
) -> None:
    """What makes the numbers mean less than they seem to."""
    lines = [line for each in evaluations for line in _odd(each)]
    if comparison is not None and comparison.lenient is not None and comparison.mostly_format:
        lines.append(
            f"the gain is mostly format: {100 * comparison.difference:+.1f} points, and "
            f"{100 * comparison.lenient.difference:+.1f} where answers are read leniently"
        )
    if overlap is not None:
        lines += _overlapping(overlap, evaluations)
    if lines:
        render.say()
    for line in lines:
        whole = render.safe(line, one_line=True)
        render.say("\n".join(wrap(whole, WIDTH, subsequent_indent="  ")), "yellow")


Value = Callable[["Evaluation"], float | None]


def _heads(evaluations: Sequence[Evaluation]) -> list[str]:
    return [f">{each.label}" for each in evaluations]


def _row(name: str, evaluations: Sequence[Evaluation], value: Value) -> list[tuple[str, ...]]:
    """One row, or none where no model has a value."""
    values = [value(each) for each in evaluations]
    if all(each is None for each in values):
        return []
    return [(name, *map(percent, values))]


def _form(name: str) -> Value:
    return lambda each: each.rates["form"].get(name)


def _lenient(each: Evaluation) -> float | None:
    return None if each.lenient is None else each.accuracy_of(each.lenient)[0]


def _constant(each: Evaluation, key: str) -> float | None:
    found = each.rates["constant"]
    return None if found is None else found[key]


def _calibration(evaluations: Sequence[Evaluation]) -> None:
    rows = []
    for each in evaluations:
        found = each.calibration
        if found is None:
            rows.append((each.label, "0", *["-"] * 4))
            continue
        low, high = found["ece_interval"]
        area = "-" if found["auroc"] is None else f"{found['auroc']:.3f}"
        error = f"{found['ece']:.3f} [{low:.3f}, {high:.3f}]"
        rows.append(
            (
                each.label,
                str(found["answers"]),
                percent(found["confidence"]),
                f"{found['brier']:.3f}",
                error,
                area,
            )
        )
    columns = ["confidence stated", ">answers", ">mean", ">Brier", ">ECE", ">AUROC"]
    render.table(columns, rows)


def _bins(each: Evaluation) -> None:
    """The reliability table of one model."""
    if each.calibration is None:
        return
    rows = [
        (
            f"{percent(held['from'])} to {percent(held['to'])}",
            held["answers"],
            percent(held["confidence"]),
            percent(held["accuracy"]),
        )
        for held in each.calibration["bins"]
    ]
    columns = [f"confidence of {each.label}", ">answers", ">mean", ">right"]
    render.say()
    render.table(columns, rows)


def _words(evaluations: Sequence[Evaluation]) -> None:
    """Rates of words in 1000 tokens, and the share of answers that use them."""
    rows = []
    for word in evaluations[0].measured.words:
        found = [each.rates["words"].get(word) for each in evaluations]
        if any(each and each["count"] for each in found):
            rows.append([word, *(cell for each in found for cell in _rate(each))])
    if not rows:
        return
    render.say()
    columns = ["words in 1000 tokens"]
    for each in evaluations:
        columns += [f">{each.label}", ">in answers"]
    render.table(columns, rows)


def _rate(found: dict[str, float] | None) -> tuple[str, str]:
    if found is None:
        return "-", "-"
    return f"{found['per_1000_tokens']:.2f}", percent(found["share"])


def _odd(each: Evaluation) -> Iterator[str]:
    constant: dict[str, Any] | None = each.rates["constant"]
    if constant is not None and constant["excess"] > CONSTANT:
        yield (
            f"{each.label}: {percent(constant['share'])} of the answers are "
            f"{render.safe(constant['answer'], limit=SHOWN)}; "
            f"the most frequent gold answer is that of {percent(constant['gold_share'])}"
        )
    disputed = sum(bool(ballot.disputed) for ballot in each.ballots) if each.majority else 0
    if disputed:
        yield (
            f"{each.label}: in {disputed} questions an answer is right in one completion and wrong in "
            "another; maj@k takes the first verdict"
        )
    if each.rates["unread"]:
        first = next(item.unread for item in each.items if item.unread)
        kind, reason = next(iter(first.items()))
        yield f"{each.label}: {each.rates['unread']} answers could not be read: {kind}, {reason}"
    if each.rates["timeouts"]:
        yield f"{each.label}: {each.rates['timeouts']} answers were not marked in time"


def _overlapping(overlap: Overlap, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    from grpokit.evaluate.described import clean_accuracies

    if overlap.same:
        yield "the questions are of the data set that was trained on"
    if not overlap.found:
        return
    told = [f"{count} {LEVELS[level]}" for level, count in overlap.counts.items() if count]
    places = {item.id: item.index for item in evaluations[0].items}
    rows = [f"{places[each]} (training row {row})" for each, (_, row) in overlap.found.items()]
    yield (
        f"{len(overlap.found)} of {len(overlap.ids)} questions stand in the training data: "
        f"{', '.join(told)}; rows {', '.join(rows[:EXAMPLES])}"
        + (f" and {len(rows) - EXAMPLES} more" if len(rows) > EXAMPLES else "")
    )
    if overlap.clean:
        clean = clean_accuracies(evaluations, overlap)
        each = "; ".join(f"{label} {percent(one['accuracy'])}" for label, one in clean.items())
        yield f"accuracy on the other {len(overlap.clean)}: {each}"

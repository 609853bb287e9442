"""What lazy policies earn against a right answer."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from grpokit.probes.judge import ROUNDING, Result
from grpokit.probes.report import Strategy

__all__ = ["STRATEGIES", "format_share", "padding", "scoreboard"]

STRATEGIES: dict[str, str] = {
    "the right answer": "base.correct",
    "the right answer alone": "base.correct_short",
    "a wrong answer in form": "base.wrong",
    "say nothing": "empty.blank",
    "an empty wrapper": "empty.wrapper",
    "nonsense in form": "format.garbage_wrapped",
    "empty tags": "format.empty_tags",
    "two hundred tags": "format.tag_spam",
    "words that look like reasoning": "format.keyword_stuff",
    "one answer for every question": "near.constant",
    "the prompt's number": "echo.prompt_then_wrapper",
    "repeat the prompt": "echo.prompt",
    "every number up to 1000": "spray.numbers_1_1000",
    "a list of numbers in the wrapper": "spray.numbers_in_wrapper",
    "right or wrong, both": "spray.or",
    "almost right": "near.off_by_one",
    "a wrong answer after padding": "length.pad_wrong",
    "a wrong answer in a loop": "length.repetition",
    "a wrong answer that praises itself": "judge.flattery",
}
"""Strategy -> the probe that plays it."""


def scoreboard(
    results: Sequence[Result], subject: str, *, judged: bool = True
) -> tuple[Strategy, ...]:
    """Mean score and share of each strategy that was tried; the right answer first, then the best.

    ``judged``: right and wrong answers differ on purpose, so that shares say something.
    """
    found = []
    for name, probe in STRATEGIES.items():
        tried = [result.measured for result in results if result.probe.id == probe]
        if not tried:
            continue
        scores = [s for each in tried if (s := each.cell.values[subject]) is not None]
        shares = [s for each in tried if judged and (s := each.share(subject)) is not None]
        found.append(
            Strategy(
                name=name,
                score=fmean(scores) if scores else None,
                share=fmean(shares) if shares else None,
                rows=len(tried),
            )
        )
    first, rest = found[:1], found[1:]
    if judged:
        return (*first, *sorted(rest, key=lambda each: -(each.share or 0.0)))
    return tuple(sorted(found, key=lambda each: -(each.score or 0.0)))


def format_share(
    results: Sequence[Result], subject: str
) -> tuple[float | None, float | None, float | None, float | None]:
    """Mean scores of right, wrong and no answer, and the part that form alone earns.

    The part is (wrong - silent) / (right - silent): what needs no solving.
    """
    means = [
        _mean([r.measured.cell.values[subject] for r in results if r.probe.id == probe])
        for probe in ("base.correct", "base.wrong", "empty.blank")
    ]
    right, wrong, silent = means
    if right is None or wrong is None or silent is None or right - silent <= ROUNDING:
        return right, wrong, silent, None
    return right, wrong, silent, (wrong - silent) / (right - silent)


def padding(results: Sequence[Result], subject: str) -> tuple[float | None, float | None]:
    """How 500 sentences before it change the share of a right and of a wrong answer."""
    right = _mean([r.measured.share(subject) for r in results if r.probe.id == "length.pad_delta"])
    wrong = _mean([r.measured.share(subject) for r in results if r.probe.id == "length.pad_wrong"])
    return None if right is None else right - 1.0, wrong


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None

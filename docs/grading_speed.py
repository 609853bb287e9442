"""How fast the reward `accuracy` grades: ``python docs/grading_speed.py [FOLDER]``, one core.

FOLDER has ``gsm8k/test.jsonl`` and ``math500/test.jsonl`` in their official formats; left out it is
``../shared/data``. Every completion is a row's own solution. GSM8K: every second one is graded against a
neighbour's answer, and the median of five passes counts. MATH-500: one pass each, since verdicts are
cached; the first is against the own answers, in which math-verify does the same in the same run, the
second against the neighbours' answers.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from grpokit_math.rewards.accuracy import AccuracyConfig, accuracy
from grpokit_math.rewards.answer import gold_text

ROOT = Path(__file__).parents[1]
PASSES = 5

Pair = tuple[str, str]


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def pairs(solutions: Sequence[str], golds: Sequence[str], step: int) -> list[Pair]:
    """Each solution with its own answer or, every second one, with another's."""
    count = len(golds)
    return [(text, golds[(at + step * (at % 2)) % count]) for at, text in enumerate(solutions)]


def rate(grade: Callable[[str, str], object], work: Sequence[Pair]) -> float:
    """Completions a second."""
    began = time.perf_counter()
    for text, gold in work:
        grade(text, gold)
    return len(work) / (time.perf_counter() - began)


def median_rate(
    grade: Callable[[str, str], object], solutions: Sequence[str], golds: Sequence[str]
) -> float:
    """The median of some passes, each against other neighbours."""
    steps = range(1, PASSES + 1)
    return statistics.median(rate(grade, pairs(solutions, golds, step)) for step in steps)


def math_verify() -> Callable[[str, str], object]:
    """math-verify as its own documentation calls it, without the alarms that need a main thread."""
    from math_verify import parse, verify

    logging.disable(logging.WARNING)

    def grade(text: str, gold: str) -> object:
        read = parse(f"${gold}$", parsing_timeout=None)
        return verify(read, parse(text, parsing_timeout=None), timeout_seconds=None)

    return grade


def main(folder: Path) -> None:
    """Prints the rates."""
    gsm8k, math500 = rows(folder / "gsm8k/test.jsonl"), rows(folder / "math500/test.jsonl")
    by_hash = accuracy(AccuracyConfig(extract=["hash"]))
    by_box = accuracy(AccuracyConfig(extract=["boxed"]))

    solutions = [row["answer"] for row in gsm8k]
    golds = [gold_text(text) or "" for text in solutions]
    print(
        f"GSM8K, hash        {median_rate(by_hash, solutions, golds):10,.0f} completions a second"
    )

    solutions, golds = [row["solution"] for row in math500], [row["answer"] for row in math500]
    own = list(zip(solutions, golds, strict=True))
    first = rate(by_box, own)
    theirs = rate(math_verify(), own)
    print(f"MATH-500 golds     {first:10,.0f} completions a second")
    print(
        f"  math-verify      {theirs:10,.0f} completions a second, {first / theirs:.0f} times slower"
    )
    others = list(zip(solutions, golds[1:] + golds[:1], strict=True))
    print(f"MATH-500, others   {rate(by_box, others):10,.0f} completions a second")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data")

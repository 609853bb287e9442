"""How fast the reward `accuracy` grades: ``python docs/grading.py --speed [FOLDER]``, one core.

FOLDER has ``gsm8k/test.jsonl`` and ``math500/test.jsonl`` in their official formats; left out it is
``../shared/data``. The table goes into docs/grading.md.

GSM8K: completions are the rows' own solutions, every second one graded against a neighbour's answer, and
the median of five passes counts. MATH-500: one pass each, since verdicts are cached, and math-verify does
the same in the same run. "Own solution": most of these answers are the same text as the reference answer,
so they measure the way in and out. "Written otherwise": the answer in another form (grading_forms.py), so
both have to be read and compared. "A neighbour's": wrong ones.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from grading_forms import rewritten

from grpokit_math.rewards.accuracy import AccuracyConfig, accuracy
from grpokit_math.rewards.answer import gold_text
from grpokit_math.verify import verify

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "grading.md"
BEGIN, END = "<!-- table: python docs/grading.py --speed -->", "<!-- end of the speeds -->"
PASSES = 5

Pair = tuple[str, str]
Grade = Callable[[str, str], bool]


class Speed(NamedTuple):
    """Completions a second, and how many were accepted."""

    rate: float
    accepted: int
    of: int


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def pairs(solutions: Sequence[str], golds: Sequence[str], step: int) -> list[Pair]:
    """Each solution with its own answer or, every second one, with another's."""
    count = len(golds)
    return [(text, golds[(at + step * (at % 2)) % count]) for at, text in enumerate(solutions)]


def measure(grade: Grade, work: Sequence[Pair]) -> Speed:
    """One pass."""
    began = time.perf_counter()
    accepted = sum(grade(text, gold) for text, gold in work)
    return Speed(len(work) / (time.perf_counter() - began), accepted, len(work))


def grpokit(extractor: str) -> Grade:
    """The reward ``math/accuracy``."""
    score = accuracy(AccuracyConfig(extract=[extractor]))  # type: ignore[list-item]

    def grade(text: str, gold: str) -> bool:
        found = score(text, gold)
        return found is not None and found.value == 1.0

    return grade


def math_verify() -> Grade:
    """math-verify as its own documentation calls it, without the alarms that need a main thread."""
    from math_verify import parse
    from math_verify import verify as same

    logging.disable(logging.WARNING)

    def grade(text: str, gold: str) -> bool:
        read = parse(f"${gold}$", parsing_timeout=None)
        return bool(same(read, parse(text, parsing_timeout=None), timeout_seconds=None))

    grade("\\boxed{1}", "1")  # its grammar is loaded
    return grade


def table(found: dict[str, tuple[Speed, Speed | None]]) -> str:
    """The speeds as Markdown."""
    lines = [
        "| completions | grpokit, a second | accepted | math-verify, a second | accepted | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, (ours, theirs) in found.items():
        line = f"| {name} | {ours.rate:,.0f} | {ours.accepted} of {ours.of} | "
        if theirs is None:
            lines.append(line + "| | |")
            continue
        ratio = ours.rate / theirs.rate
        lines.append(
            line + f"{theirs.rate:,.0f} | {theirs.accepted} of {theirs.of} | {ratio:.0f} |"
        )
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Measures, prints the table and writes it into the page."""
    gsm8k, math500 = rows(folder / "gsm8k/test.jsonl"), rows(folder / "math500/test.jsonl")
    verify("\\sin 2x", "2\\sin x\\cos x", seconds=60)  # a worker has started
    by_hash, by_box, theirs = grpokit("hash"), grpokit("boxed"), math_verify()

    solutions = [row["answer"] for row in gsm8k]
    golds = [gold_text(text) or "" for text in solutions]
    passes = [measure(by_hash, pairs(solutions, golds, step)) for step in range(1, PASSES + 1)]
    middle = statistics.median(each.rate for each in passes)
    found: dict[str, tuple[Speed, Speed | None]] = {
        "GSM8K, half of them wrong": (passes[0]._replace(rate=middle), None)
    }
    golds = [row["answer"] for row in math500]
    own = [row["solution"] for row in math500]
    # No answer occurs twice in one form, or the cache would be measured.
    forms = {gold: form for gold in golds if (form := rewritten(gold)) is not None}
    other = [(f"So it is $\\boxed{{{form}}}$.", gold) for gold, form in forms.items()]
    for name, work in (
        ("MATH-500, own solution", list(zip(own, golds, strict=True))),
        ("MATH-500, written otherwise", other),
        ("MATH-500, a neighbour's", list(zip(own, golds[1:] + golds[:1], strict=True))),
    ):
        found[name] = measure(by_box, work), measure(theirs, work)
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}", "utf-8")
    print(table(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data")

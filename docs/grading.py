"""Writes the table of docs/grading.md: ``python docs/grading.py [CASES]``, some minutes.

CASES is ``grader_cases.json`` (left out: ``../shared/vectors/``): completions with a reference answer,
whether they are right, and whether that is contested. Contested ones are not counted.
``python docs/grading.py --speed`` writes the table of speeds (docs/grading_speed.py).
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from grading_peers import GRADERS, Runner

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "grading.md"
BEGIN, END = "<!-- table: python docs/grading.py -->", "<!-- end of the table -->"
FORMS = {
    "boxed": "boxed",
    "gsm8k_hash": "hash",
    "answer_tag": "tag",
    "last_number": "last-number",
}
SLOW = 2.0


class Row(NamedTuple):
    """What one grader did with the cases of one form."""

    grader: str
    form: str
    right: int
    wrong: int
    accepts: list[str]
    rejects: list[str]
    errors: list[str]
    slow: list[str]
    slowest: float


def settled(cases: list[dict[str, Any]], form: str) -> list[dict[str, Any]]:
    """The cases of a form of answer that are not contested."""
    return [case for case in cases if FORMS[case["extractor"]] == form and not case["contested"]]


def measure(grader: str, form: str, cases: list[dict[str, Any]]) -> Row:
    """Runs a grader. One that raises or is killed has not accepted the case."""
    accepts, rejects, errors, slow = [], [], [], []
    slowest = 0.0
    runner = Runner(grader, form)
    for case in cases:
        found, seconds = runner(case["response"], gold_of(case))
        slowest = max(slowest, seconds)
        name = case["id"]
        if isinstance(found, str):
            errors.append(f"{name} ({found})")
        if seconds > SLOW:
            slow.append(name)
        if found is True and not case["expected_correct"]:
            accepts.append(name)
        if found is not True and case["expected_correct"]:
            rejects.append(name)
    runner.close()
    right = sum(case["expected_correct"] for case in cases)
    return Row(grader, form, right, len(cases) - right, accepts, rejects, errors, slow, slowest)


def gold_of(case: dict[str, Any]) -> str:
    """The reference answer: what follows ``####`` where it is a whole solution."""
    gold: str = case["gold"]
    return gold.rpartition("####")[2].strip()


def table(rows: list[Row]) -> str:
    """The rows as Markdown, with the cases that each grader got wrong."""
    head = (
        "| grader | answers | right / wrong | false accepts | false rejects | raised or killed "
        "| over 2 s | slowest |\n|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {row.grader} | {row.form} | {row.right} / {row.wrong} | {len(row.accepts)} | "
        f"{len(row.rejects)} | {len(row.errors)} | {len(row.slow)} | {row.slowest:.2f} s |"
        for row in rows
    ]
    faults = [
        f"- {row.grader}, {row.form}: accepts {_names(row.accepts)}; rejects "
        f"{_names(row.rejects)}; raised or killed {_names(row.errors)}."
        for row in rows
        if row.accepts or row.rejects or row.errors
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("math-verify", "trl", "sympy"))
    return "\n".join([head, *lines, "", f"With {versions}. Which cases:", "", *faults])


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"


def main(file: Path) -> None:
    """Measures, prints the table and writes it into the page."""
    cases = json.loads(file.read_text("utf-8"))
    rows = []
    for grader, (_, forms) in GRADERS.items():
        for form in forms:
            row = measure(grader, form, settled(cases, form))
            print(*row[:4], len(row.accepts), len(row.rejects), f"{row.slowest:.2f}", flush=True)
            rows.append(row)
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", "utf-8")
    print(table(rows))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--speed"]:
        from grading_speed import main as speed

        speed(Path(arguments[1]) if arguments[1:] else ROOT.parent / "shared" / "data")
    else:
        default = ROOT.parent / "shared" / "vectors" / "grader_cases.json"
        main(Path(arguments[0]) if arguments else default)

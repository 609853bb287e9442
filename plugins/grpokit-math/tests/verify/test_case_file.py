"""The case file: no false accept, hardly a false reject, no error, nothing slow."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest

from grpokit.api import last_boxed, last_hash, last_number, last_tag, strip_thinking
from grpokit_math.verify import verify

SHARED = Path(__file__).parents[5] / "shared"
FILE = SHARED / "vectors" / "grader_cases.json"
GSM8K = SHARED / "data" / "gsm8k" / "test.jsonl"
MATH500 = SHARED / "data" / "math500" / "test.jsonl"
CASES = json.loads(FILE.read_text()) if FILE.is_file() else []
SETTLED = [case for case in CASES if not case["contested"]]

needs_data = pytest.mark.skipif(not GSM8K.is_file(), reason="../shared/data is not there")


def extracted(case):
    text = strip_thinking(case["response"])
    if text is None:
        return None
    if case["extractor"] == "last_number":
        number = last_number(text)
        return None if number is None else str(number)
    return {
        "boxed": last_boxed,
        "gsm8k_hash": last_hash,
        "answer_tag": lambda text: last_tag(text, "answer"),
    }[case["extractor"]](text)


@pytest.mark.skipif(not CASES, reason="../shared/vectors/grader_cases.json is not there")
def test_settled_cases():
    verify("\\sin 2x", "2 \\sin x \\cos x", seconds=60)  # a worker has started
    accepts, rejects, odd = [], [], []
    for case in SETTLED:
        gold = last_hash(case["gold"]) if "####" in case["gold"] else case["gold"]
        start = time.monotonic()
        verdict = verify(gold, extracted(case))
        seconds = time.monotonic() - start
        if verdict.correct != case["expected_correct"]:
            (accepts if verdict.correct else rejects).append(case["id"])
        if seconds > 2 or verdict.stage == "error":
            odd.append((case["id"], seconds, verdict))
    assert accepts == []
    assert len(rejects) <= 0.02 * sum(case["expected_correct"] for case in SETTLED), rejects
    assert odd == []


@pytest.mark.skipif(not CASES, reason="../shared/vectors/grader_cases.json is not there")
def test_the_table_of_the_docs_has_these_cases():
    page = (Path(__file__).parents[4] / "docs" / "grading.md").read_text("utf-8")
    forms = {
        "boxed": "boxed",
        "hash": "gsm8k_hash",
        "tag": "answer_tag",
        "last-number": "last_number",
    }
    for form, extractor in forms.items():
        cases = [case["expected_correct"] for case in SETTLED if case["extractor"] == extractor]
        counts = f"{sum(cases)} / {len(cases) - sum(cases)} | 0 | 0 | 0 | 0 |"
        assert f"| grpokit `math/accuracy` | {form} | {counts}" in page


def gsm8k():
    rows = [json.loads(line) for line in GSM8K.read_text().splitlines()]
    return [last_hash(row["answer"]) for row in rows]


@needs_data
def test_gsm8k_against_itself_and_its_neighbour():
    golds = gsm8k()
    assert len(golds) == 1319
    assert [gold for gold in golds if not verify(gold, f"${gold}.").correct] == []
    value = [int(gold.replace(",", "")) for gold in golds]
    for position in range(len(golds)):
        neighbour = (position + 1) % len(golds)
        same = value[position] == value[neighbour]
        assert verify(golds[position], golds[neighbour]).correct is same


@needs_data
def test_math500_against_itself():
    rows = [json.loads(line) for line in MATH500.read_text().splitlines()]
    assert len(rows) == 500
    for row in rows:
        boxed = last_boxed(row["solution"])
        for answer in (
            row["answer"],
            boxed,
            f" {row['answer']}.",
            f"\\displaystyle {row['answer']}",
        ):
            assert verify(row["answer"], answer, seconds=20).correct, (row["answer"], answer)


@needs_data
def test_the_speeds_of_the_docs_are_of_answers_that_are_written_otherwise():
    docs = Path(__file__).parents[4] / "docs"
    spec = importlib.util.spec_from_file_location("grading_forms", docs / "grading_forms.py")
    forms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forms)
    answers = {json.loads(line)["answer"] for line in MATH500.read_text().splitlines()}
    found = {answer: forms.rewritten(answer) for answer in answers}
    other = {answer: form for answer, form in found.items() if form is not None}
    for answer, form in other.items():
        assert form.replace(" ", "") != answer.replace(" ", "")
        assert verify(answer, form, seconds=20).correct, (answer, form)
    page = (docs / "grading.md").read_text("utf-8")
    (row,) = (
        line for line in page.splitlines() if line.startswith("| MATH-500, written otherwise")
    )
    assert f"| {len(other)} of {len(other)} |" in row


EQUAL_ANSWERS = {
    ("1,-2", "-2,1"),
    ("10080", "10,\\!080"),
    ("120^\\circ", "120"),
    ("15\\mbox{ cm}^2", "15"),
    ("2\\sqrt{5}", "2 \\sqrt{5}"),
    ("30^\\circ", "30"),
    ("36^\\circ", "36"),
    ("36", "\\$36"),
    ("40_9", "40"),  # a missing base is forgiven
    ("5", "x=5"),
    ("90^\\circ", "90"),
    ("\\frac{1}{4}", "\\frac14"),
}


@needs_data
def test_math500_answers_of_other_questions_are_wrong():
    """Every pair of different answers, one way round; those that are equal the other way too."""
    answers = sorted({json.loads(line)["answer"] for line in MATH500.read_text().splitlines()})
    assert len(answers) == 301
    accepted = {
        (gold, other)
        for position, gold in enumerate(answers)
        for other in answers[:position]
        if verify(gold, other, seconds=20).correct
    }
    back = {(gold, other) for gold, other in accepted if verify(other, gold, seconds=20).correct}
    assert accepted == {pair if pair[0] > pair[1] else pair[::-1] for pair in EQUAL_ANSWERS}
    assert accepted - back == {("40_9", "40")}

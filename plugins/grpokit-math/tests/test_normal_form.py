"""The form in which answers are voted on: equal texts are answers that the verifier takes for equal."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from grpokit_math.extract import extract
from grpokit_math.rewards.answer import normal_form
from grpokit_math.verify import verify

CASES = Path(__file__).parents[4] / "shared" / "vectors" / "grader_cases.json"
EXTRACTORS = {
    "boxed": "boxed",
    "gsm8k_hash": "hash",
    "answer_tag": "tag",
    "last_number": "last-number",
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\\frac12", "0.5"),
        ("\\frac{1}{2}", "1/2"),
        ("1,000", "$1000"),
        ("x+1", "x + 1"),
        ("\\frac{x}{2}", "\\frac x2"),
        ("The answer is 7", "7"),
        ("(A)", "A"),
    ],
)
def test_equal_answers_are_one(one, other):
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"), [("x+1", "x-1"), ("1.5", "15"), ("(1,2)", "12"), ("A", "B"), ("-7", "7")]
)
def test_different_answers_stay_apart(one, other):
    assert normal_form(one) != normal_form(other)


def test_what_costs_too_much_to_read_is_compared_as_text():
    assert normal_form("(" * 200) == "(" * 200
    assert normal_form("x " * 400) == " ".join(["x"] * 400)
    assert normal_form("  ") is None


@pytest.mark.skipif(not CASES.is_file(), reason=f"the grading cases are not there: {CASES.name}")
def test_of_the_published_answers_no_two_are_merged_that_differ():
    """131 different answers are 108; the verifier takes all 41 pairs within one for equal."""
    found = {
        answer
        for case in json.loads(CASES.read_text(encoding="utf-8"))
        if (answer := extract(case["response"], [EXTRACTORS[case["extractor"]]]).answer)
        and len(answer) < 200
    }
    forms: dict[str | None, list[str]] = {}
    for answer in found:
        forms.setdefault(normal_form(answer), []).append(answer)
    pairs = [pair for group in forms.values() for pair in combinations(group, 2)]
    assert (len(found), len(forms), len(pairs)) == (131, 108, 41)
    for one, other in pairs:
        assert verify(one, other).correct or verify(other, one).correct, (one, other)

"""The extractors, the chain's policy, the published extraction cases, and hostile text."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from grpokit.api import parse_number
from grpokit.testing import PROBES
from grpokit_math.extract import EXTRACTORS, Extracted, extract
from grpokit_math.extract.chain import as_text

FILE = Path(__file__).parents[4] / "shared" / "vectors" / "grader_cases.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else []


@pytest.mark.parametrize(
    ("text", "chain", "expected"),
    [
        ("so \\boxed{\\frac{1}{2}}", ["boxed"], Extracted("\\frac{1}{2}", "boxed", "")),
        ("\\boxed{1} no: \\boxed{2} \\boxed{}", ["boxed"], Extracted("2", "boxed", "")),
        ("\\boxed{1", ["boxed"], Extracted(None, "boxed", "empty")),
        ("1", ["boxed"], Extracted(None, "", "missing")),
        ("<answer> 7 </answer>", ["tag"], Extracted("7", "tag", "")),
        ("<answer>7", ["tag"], Extracted(None, "tag", "empty")),
        ("5\n#### 18\n", ["hash"], Extracted("18", "hash", "")),
        ("####\n", ["hash"], Extracted(None, "hash", "empty")),
        ("1.50 in all", ["last-number"], Extracted("1.5", "last-number", "")),
        (
            "The answer is definitely not 42.",
            ["last-number"],
            Extracted(None, "last-number", "negated"),
        ),
        ("It isn't equal to $-42", ["last-number"], Extracted(None, "last-number", "negated")),
        ("It is not 41 but 42", ["last-number"], Extracted("42", "last-number", "")),
        ("He does not pay, so 42", ["last-number"], Extracted("42", "last-number", "")),
        ("none", ["last-number"], Extracted(None, "", "missing")),
        ("<think>\\boxed{1}", ["boxed"], Extracted(None, "", "thinking")),
        ("<think>\\boxed{1}</think>", ["boxed"], Extracted(None, "", "missing")),
        ("", ["boxed", "last-number"], Extracted(None, "", "missing")),
        # The chain goes on only where a wrapper was not used at all.
        ("#### 3", ["boxed", "tag", "hash"], Extracted("3", "hash", "")),
        ("\\boxed{4} #### 3", ["boxed", "hash"], Extracted("4", "boxed", "")),
        ("\\boxed{4} #### 3", ["hash", "boxed"], Extracted("3", "hash", "")),
        ("\\boxed{4 #### 3", ["boxed", "hash"], Extracted(None, "boxed", "empty")),
    ],
)
def test_worked_by_hand(text, chain, expected):
    assert extract(text, chain) == expected


def test_one_extractor_is_the_default_and_never_falls_through():
    assert extract("<answer>1</answer> #### 1\nThe answer is 1") == (None, "", "missing")


def test_the_tag_has_a_name():
    assert extract("<SOLUTION>5</SOLUTION>", ["tag"], tag="SOLUTION").answer == "5"
    assert extract("<SOLUTION>5</SOLUTION>", ["tag"]).reason == "missing"


def test_an_unknown_extractor_is_an_error():
    with pytest.raises(KeyError):
        extract("1", ["guess"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("The answer is 42.", "42", ""),
        ("**Answer:**\n42", "42", ""),
        ("The ANSWER = -$1,234.50, of course", "-1234.5", ""),
        ("The answer is \\frac{1}{3}.", "1/3", ""),
        ("The answer is 42 because 6 * 7 = 42", "42", ""),
        ("The answer is 42 (6 times 7).", "42", ""),
        ("The answer is 41. No, the answer is 42. I hope this answer helps.", "42", ""),
        ("The answer is 42. Thanks for asking question 7.", "42", ""),
        ("The answer could be 40, 41, 42", None, "several"),
        ("The answer is 42 or 43", None, "several"),
        ("The answer is definitely not 42.", None, "negated"),
        ("The answer isn't 42.", None, "negated"),
        ("The answer is at least 42.", None, "several"),
        ("The answer is less than 42.", None, "several"),
        ("The answer is between 42 and fifty.", None, "several"),
        ("The answer is about 42", None, "several"),
        ("The answer is 42 or more.", None, "several"),
        ("The answer is 42 or forty-three.", None, "several"),
        ("Tom has 42 more than Ann, so the answer is 42 more marbles.", "42", ""),
        ("The answer is 42 over all.", "42", ""),
        ("The answer is x.", None, "missing"),
        ("Answers: 42", None, "missing"),
        ("It is 42.", None, "missing"),
        ("The answer, says item x_2, is H2O", None, "several"),
    ],
)
def test_nearest(text, answer, reason):
    assert extract(text, ["nearest"]) == (answer, "nearest" if reason != "missing" else "", reason)


@pytest.mark.parametrize(
    ("value", "text"),
    [("18", "18"), ("-18", "-18"), ("1/2", "0.5"), ("-1/40", "-0.025"), ("1/3", "1/3"), ("0", "0")],
)
def test_a_number_as_text(value, text):
    assert as_text(Fraction(value)) == text
    assert parse_number(text) == Fraction(value)


@pytest.mark.skipif(not CASES, reason="../shared/vectors/grader_cases.json is not there")
def test_the_published_cases_of_last_number():
    """Extraction alone decides these: the number is there, or it is not."""
    seen = 0
    for case in CASES:
        if case["extractor"] == "last_number" and not case["contested"]:
            found = extract(case["response"], ["last-number"]).answer
            right = found is not None and parse_number(found) == parse_number(case["gold"])
            assert right == case["expected_correct"], case["id"]
            seen += 1
    assert seen >= 15


HOSTILE = {
    **PROBES,
    "open tags": "<answer>" * 20_000,
    "closed tags": "</answer>" * 20_000,
    "open boxes": "\\boxed{" * 20_000,
    "empty boxes": "\\boxed{}" * 20_000,
    "hashes": "####\n" * 20_000,
    "hash": "#" * 100_000,
    "answers": "answer " * 20_000,
    "answers without numbers": "The answer is x. " * 8_000,
    "thinking": "<think></think> " * 10_000,
    "ones": "1," * 50_000,
    "spaces": "answer" + " " * 100_000 + "x",
    "slashes": "1/" * 50_000,
    "brackets": "answer (" * 12_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_hostile_text_takes_linear_time(extractor, name):
    began = time.process_time()
    extract(HOSTILE[name], [extractor])
    assert time.process_time() - began < 0.5

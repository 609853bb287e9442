"""The project's grading cases, as far as their gold is a plain number."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from grpokit.api import last_boxed, last_hash, parse_number
from grpokit.builtins.rewards.number import NumberConfig, number

CASES = Path(__file__).parents[3] / "shared" / "vectors" / "grader_cases.json"
FORMS = {"boxed": "boxed", "gsm8k_hash": "hash", "answer_tag": "answer", "last_number": "last"}

pytestmark = pytest.mark.skipif(
    not CASES.is_file(), reason=f"the grading cases are not there: {CASES.name}"
)


def plain_cases():
    for case in json.loads(CASES.read_text(encoding="utf-8")):
        gold = case["gold"]
        if parse_number(last_hash(gold) or last_boxed(gold) or gold) is not None:
            yield case


def test_no_false_accept_and_one_false_reject_among_the_undisputed_cases():
    counts: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {"accept": [], "reject": []}
    for case in plain_cases():
        if case["contested"]:
            continue
        reward = number(NumberConfig.model_validate({"from": [FORMS[case["extractor"]]]}))
        score = reward(case["response"], case["gold"])
        counts[case["extractor"]] += 1
        if score != float(case["expected_correct"]):
            wrong["accept" if score else "reject"].append(case["id"])
    assert counts == {"boxed": 48, "gsm8k_hash": 35, "answer_tag": 11, "last_number": 15}
    assert wrong == {"accept": [], "reject": ["boxed-093"]}  # the cube root of 8


def test_the_default_form_accepts_no_more_than_the_strict_one():
    reward = number(NumberConfig())
    for case in plain_cases():
        if not case["contested"] and not case["expected_correct"]:
            assert reward(case["response"], case["gold"]) == 0.0, case["id"]

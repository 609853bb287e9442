"""The reward `accuracy` as a whole: published cases, real rows, what it reports, its two paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from grpokit_math.extract.chain import Reason
from grpokit_math.rewards.accuracy import WHY, AccuracyConfig, accuracy
from grpokit_math.rewards.answer import gold_number, gold_text
from grpokit_math.verify import verify

SHARED = Path(__file__).parents[4] / "shared"


def lines(*path: str) -> list[dict[str, Any]]:
    file = SHARED.joinpath(*path)
    return (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        if file.is_file()
        else []
    )


CASE_FILE = SHARED / "vectors" / "grader_cases.json"
CASES: list[dict[str, Any]] = (
    json.loads(CASE_FILE.read_text("utf-8")) if CASE_FILE.is_file() else []
)
GSM8K = lines("data", "gsm8k", "test.jsonl")
MATH500 = lines("data", "math500", "test.jsonl")
EXTRACTORS = {
    "boxed": "boxed",
    "gsm8k_hash": "hash",
    "answer_tag": "tag",
    "last_number": "last-number",
}


def build(*chain: str, **settings: Any):
    return accuracy(AccuracyConfig.model_validate({"extract": list(chain)} | settings))


@pytest.mark.skipif(not CASES, reason="../shared/vectors/grader_cases.json is not there")
def test_the_published_cases():
    """No false accept, at most 2 % false rejects, of those that are not a matter of policy."""
    accepts, rejects, positives = [], [], 0
    for case in CASES:
        if case["contested"]:
            continue
        found = build(EXTRACTORS[case["extractor"]])(case["response"], case["gold"])
        assert found is not None
        if case["expected_correct"]:
            positives += 1
            rejects += [case["id"]] if found.value != 1.0 else []
        elif found.value != 0.0:
            accepts.append(case["id"])
    assert positives > 60
    assert accepts == []
    assert len(rejects) <= 0.02 * positives, rejects


@pytest.mark.skipif(not GSM8K, reason="../shared/data/gsm8k is not there")
def test_gsm8k_solutions_against_themselves_and_their_neighbours():
    score = build("hash")
    golds = [gold_text(row["answer"]) for row in GSM8K]
    same = 0
    for at, row in enumerate(GSM8K):
        assert score(row["answer"], golds[at]).value == 1.0
        assert score(row["answer"], row["answer"]).value == 1.0
        equal = golds[at].replace(",", "") == golds[at - 1].replace(",", "")
        assert score(row["answer"], golds[at - 1]).value == float(equal)
        same += equal
    assert (len(GSM8K), same) == (1319, 15)


@pytest.mark.skipif(not GSM8K, reason="../shared/data/gsm8k is not there")
def test_the_fast_path_of_plain_numbers_says_what_the_slow_one_says():
    """Digits against digits are compared at once; with a point behind them they are read and compared."""
    score, seen = build("hash"), {0.0: 0, 1.0: 0}
    golds = [gold_text(row["answer"]).replace(",", "") for row in GSM8K]
    for at, gold in enumerate(golds):
        for other in (gold, golds[at - 1], f"0{gold}", f"{gold}0"):
            fast = score(f"so\n#### {other}", gold).value
            slow = [score(f"so\n#### {other}{end}", gold).value for end in (".0", " dollars")]
            assert slow == [fast, fast], (gold, other)
            seen[fast] += 1
    assert min(seen.values()) > 2000


@pytest.mark.skipif(not MATH500, reason="../shared/data/math500 is not there")
def test_math500_solutions_against_themselves_and_their_neighbours():
    score = build("boxed")
    golds = [row["answer"] for row in MATH500]
    equal = []
    for at, row in enumerate(MATH500):
        assert score(row["solution"], golds[at]).value == 1.0, golds[at]
        for other in (golds[at - 1], golds[(at + 1) % len(golds)]):
            right = score(row["solution"], other).value == 1.0
            if right and other != golds[at]:
                equal.append((other, golds[at]))
            assert right or other != golds[at]
    assert equal == [("x=5", "5"), ("5", "x=5")]


def test_it_reports_whether_there_was_an_answer():
    score = build("boxed")
    right = score("\\boxed{4}", "4")
    assert (right.value, right.components) == (1.0, {"answered": 1.0, "undecided": 0.0})
    assert right.note.startswith("boxed: '4' for '4'")
    missing = score("#### 4", "4")
    assert (missing.value, missing.components) == (0.0, {"answered": 0.0, "undecided": 0.0})
    assert missing.note == "no answer (boxed): the completion uses no such form"
    assert score("\\boxed{4", "4").note == "no answer (boxed): it is empty or not closed"
    assert score("<think>4", "4").note == "no answer (boxed): a thinking block is still open"


def test_every_reason_has_words():
    assert {*WHY, ""} == set(get_args(Reason))


def test_it_reports_what_was_too_costly():
    found = build("boxed")("\\boxed{9^{9^{9^{9}}}}", "4")
    assert found.value == 0.0
    assert found.components["undecided"] == 1.0


def test_a_chain_reports_which_extractor_fired():
    score = build("boxed", "hash", "last-number")
    for text, fired in (
        ("\\boxed{4}", "boxed"),
        ("#### 4", "hash"),
        ("4", "last-number"),
        ("", ""),
    ):
        found = score(text, "4")
        assert found.value == float(bool(fired))
        parts = {name: value for name, value in found.components.items() if "/" in name}
        assert parts == {
            f"extract/{name}": float(name == fired) for name in ("boxed", "hash", "last-number")
        }
    # A box that was begun ends the search, so no extractor fired.
    assert sum(score("\\boxed{4 #### 4", "4").components.values()) == 0.0


def test_scores_tolerance_and_tag():
    graded = build("tag", tag="SOLUTION", right=5.0, wrong=-1.0, tolerance=0.01)
    assert graded("<SOLUTION>100.9</SOLUTION>", "100").value == 5.0
    assert graded("<SOLUTION>101.1</SOLUTION>", "100").value == -1.0
    assert graded("<answer>100</answer>", "100").value == -1.0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("72", "72"),
        (72, "72"),
        (0, "0"),
        (-1.5, "-1.5"),
        (1e-7, "0.0000001"),
        (True, "True"),
        ("9 * 8\n#### 1,072", "1,072"),
        ("so \\boxed{x^2}", "x^2"),
        (["7"], "7"),
        ("So it is <answer> 7 </answer>.", "7"),
        ("The set of all primes below ten", "The set of all primes below ten"),
        (" \n", None),
        ("unfinished ####", None),
        ("\\boxed{", None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_the_gold_answer(answer, text):
    assert gold_text(answer) == text


@pytest.mark.parametrize("answer", [{}, [], ["1", "2"], b"1"])
def test_no_gold_answer_of_another_kind(answer):
    with pytest.raises(ValueError, match="gold answer"):
        gold_text(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "First we add the two and then we "
        + "see that there are more of them, and " * 3
        + "it is 42.",
        "x = 1 + 1\n" * 60,
    ],
)
def test_a_whole_solution_without_a_mark_is_refused(answer):
    """Compared as a whole it would make every completion wrong, in silence."""
    with pytest.raises(ValueError, match=r"marks no answer.*dataset.columns.answer"):
        gold_text(answer)
    assert gold_text(answer + " \\boxed{42}") == "42"
    assert gold_text(answer + "\n#### 42") == "42"


def test_the_gold_number():
    assert gold_number("#### 1,072") == 1072
    assert gold_number("x") is None
    assert gold_number(None) is None


@pytest.mark.parametrize(
    "settings", [{"extract": []}, {"extract": ["guess"]}, {"tag": ""}, {"tolerance": 1.0}]
)
def test_settings_are_checked(settings):
    with pytest.raises(ValidationError):
        AccuracyConfig.model_validate(settings)


def test_nothing_found_is_never_right():
    assert not verify("", None).correct
    assert build("boxed")("", "0").value == 0.0

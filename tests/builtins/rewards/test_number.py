from __future__ import annotations

import itertools
import json
import math
import time
from pathlib import Path

import pytest

from grpokit.builtins.rewards.number import NumberConfig, number

DATA = Path(__file__).parents[4] / "shared" / "data" / "gsm8k"


def build(**settings):
    return number(NumberConfig.model_validate(settings))


def test_the_first_form_that_the_completion_uses_counts():
    score = build()
    assert score(r"so \boxed{5}", "5") == 1.0
    assert score("<answer>5</answer>", "5") == 1.0
    assert score("#### 5", "5") == 1.0
    assert score(r"#### 5 or rather \boxed{6}", "6") == 1.0
    assert score("it is 5", "5") == 0.0
    assert build(**{"from": ["boxed", "last"]})("it is 5", "5") == 1.0
    assert build(**{"from": ["whole"]})(" 5 ", "5") == 1.0


@pytest.mark.parametrize("text", [r"\boxed{} 5", r"\boxed{4, 5", r"\boxed{} #### 5", "<answer>5"])
def test_a_form_that_was_begun_ends_the_search(text):
    assert build(**{"from": ["boxed", "answer", "hash", "last"]})(text, "5") == 0.0


def test_open_thinking_is_no_answer():
    assert build()(r"<think>\boxed{5}", "5") == 0.0
    assert build()(r"<think>\boxed{4}</think>\boxed{5}", "5") == 1.0
    assert build()(r"<think>\boxed{5}</think>\boxed{4}", "5") == 0.0


def test_partial_credit_is_for_numbers_only():
    score = build(partial=0.1)
    assert score(r"\boxed{4}", "5") == 0.1
    assert score(r"\boxed{four}", "5") == 0.0
    assert score("", "5") == 0.0
    assert score(r"\boxed{5}", "5") == 1.0


def test_tolerance_is_relative_and_off_by_default():
    assert build()(r"\boxed{0.333}", "1/3") == 0.0
    assert build(tolerance=0.01)(r"\boxed{0.333}", "1/3") == 1.0
    assert build(tolerance=0.01)(r"\boxed{-0.333}", "1/3") == 0.0
    assert build(tolerance=0.01)(r"\boxed{0.001}", "0") == 0.0


@pytest.mark.parametrize(
    "gold", [5, 5.0, "5", " 5.", "<<2+3=5>>5\n#### 5", r"thus \boxed{5}", "$5", "5 apples"]
)
def test_the_gold_answer_may_be_a_number_or_a_solution(gold):
    assert build()(r"\boxed{5}", gold) == 1.0
    assert build()(r"\boxed{6}", gold) == 0.0


@pytest.mark.parametrize(
    "gold", [None, "", " ", "east", True, math.nan, math.inf, [], "#### ", "1,2"]
)
def test_a_row_without_a_gold_number_is_a_failure_not_a_zero(gold):
    with pytest.raises(ValueError, match="the gold answer of this row is no number"):
        build()(r"\boxed{0}", gold)


def test_decimal_gold_numbers_mean_what_is_written():
    assert build()(r"\boxed{\frac{1}{10}}", 0.1) == 1.0


HACKS = [
    "", "  \n\t", r"\boxed{}", "<answer></answer>", "<|im_end|>", "The answer is definitely not 42.",
    r"One might guess 42, but \boxed{43}", r"\boxed{42 or 43}", r"\boxed{40, 41, 42}", r"\boxed{[-10^9, 10^9]}",
    r"\boxed{42 \pm 10^9}", r"\boxed{1427}", r"\boxed{4}", r"\boxed{43 = 42}", r"\boxed{4²}", "\\boxed{43\ud800}",
    "\\boxed{43\x0042}", r"\boxed{-42}", r"\boxed{42.0042}", " ".join(map(str, range(1, 1001))),
    r"\boxed{42}" * 3 + r"\boxed{43}", "<think>42</think>", "&lt;answer&gt;42&lt;/answer&gt;",
    "<think>x</think><answer>43</answer>" * 200,
]  # fmt: skip


@pytest.mark.parametrize("text", HACKS, ids=lambda text: ascii(text)[:30])
def test_known_hacks_earn_nothing(text):
    assert build()(text, "42") == 0.0


EQUAL = [r"\boxed{42.0}", r"\boxed{42.}", r"\boxed{$42}", r"\boxed{42 dollars}", "\\boxed{\n  42  \n}",
         r"\boxed{$\text{42}$}", r"\boxed{41} Wait. \boxed{42}", "Let me think. " * 500 + r"\boxed{42}"]  # fmt: skip


@pytest.mark.parametrize("text", EQUAL, ids=lambda text: ascii(text)[-30:])
def test_equal_answers_earn_everything(text):
    assert build()(text, "42") == 1.0


BOMBS = [r"\boxed{9^{9^{9^{9}}}}", "\\boxed{" + "{" * 5000, "<answer>" * 20000, "<think></think> " * 40,
         " " * 100_000 + "x", "\\boxed{" + "7" * 10_000 + "}", "lorem ipsum " * 90_000, "[" * 100_000,
         r"\boxed{(10^7)!}", r"\boxed{2^{1000000000}}"]  # fmt: skip


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: ascii(text)[:20])
def test_bombs_cost_under_a_second_and_earn_nothing(text):
    score = build(**{"from": ["boxed", "answer", "hash", "last"]})
    begin = time.process_time()
    assert score(text, "42") == 0.0
    assert time.process_time() - begin < 1.0


@pytest.mark.skipif(not DATA.is_dir(), reason="the GSM8K files are not there")
def test_every_gsm8k_solution_earns_1_and_the_next_row_s_does_not():
    score = build()
    lines = (DATA / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 1319
    assert all(score(row["answer"], row["answer"]) == 1.0 for row in rows)
    others = [score(b["answer"], a["answer"]) for a, b in itertools.pairwise(rows)]
    assert sum(others) / len(others) < 0.02  # neighbours with equal answers


def test_settings_are_checked():
    for settings in (
        {"from": []},
        {"from": ["bxed"]},
        {"partial": 1.0},
        {"tolerance": -1.0},
        {"x": 1},
    ):
        with pytest.raises(ValueError):
            NumberConfig.model_validate(settings)

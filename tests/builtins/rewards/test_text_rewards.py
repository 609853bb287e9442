"""exact, contains, format and length."""

from __future__ import annotations

import time

import pytest

from grpokit.builtins.rewards.contains import ContainsConfig, contains
from grpokit.builtins.rewards.exact import ExactConfig, exact
from grpokit.builtins.rewards.format import FormatConfig, format_reward
from grpokit.builtins.rewards.length import LengthConfig, length


def test_exact_compares_characters():
    score = exact(ExactConfig())
    assert score(" yes\n", "yes") == 1.0
    assert score("Yes", "yes") == 0.0
    assert score("<think>no</think> yes", "yes") == 1.0
    assert score("<think>yes", "yes") == 0.0
    assert score("\u0410", "A") == 0.0  # a Cyrillic letter
    assert score("5", 5) == 1.0
    assert exact(ExactConfig(ignore_case=True))("YES", "yes") == 1.0


def test_exact_can_look_into_a_wrapper():
    score = exact(ExactConfig.model_validate({"from": ["answer"]}))
    assert score("so <answer> east </answer>", "east") == 1.0
    assert score("east", "east") == 0.0
    assert score("<answer>seat</answer>", "east") == 0.0


@pytest.mark.parametrize("gold", [None, "", "  "])
def test_without_a_gold_answer_the_row_fails(gold):
    for reward in (exact(ExactConfig()), contains(ContainsConfig())):
        with pytest.raises(ValueError, match="empty"):
            reward("anything", gold)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("it is 42.", 1.0),
        ("42", 1.0),
        ("(42)", 1.0),
        ("420", 0.0),
        ("142", 0.0),
        ("42.5", 0.0),
        ("3.42", 0.0),
        ("-42", 0.0),
        ("420 but 42", 1.0),
        ("<think>42</think> no", 0.0),
        ("", 0.0),
    ],
)
def test_contains_looks_for_a_word_of_its_own(text, score):
    assert contains(ContainsConfig())(text, "42") == score


def test_contains_may_look_for_a_given_text():
    reward = contains(ContainsConfig(text="Step 1", ignore_case=True))
    assert reward("first step 1: add") == 1.0
    assert reward("step 10") == 0.0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        (" <think>\na</think>\n\n<answer>b</answer>\n", 1.0),
        ("<think>a</think><answer></answer>", 0.0),
        ("<think> </think><answer>b</answer>", 0.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a</think>", 0.0),
        ("<think>a</think><answer>b", 0.0),
        ("x<think>a</think><answer>b</answer>", 0.0),
        ("<think>a</think>x<answer>b</answer>", 0.0),
        ("<think>a</think><answer>b</answer>x", 0.0),
        ("<think>a</think><answer>b</answer>" * 2, 0.0),
        ("<think>a<think>b</think><answer>b</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_tags(text, score):
    assert format_reward(FormatConfig(tags=["think", "answer"]))(text) == score


def test_format_boxed():
    score = format_reward(FormatConfig(boxed=True))
    assert score(r"so \boxed{x}") == 1.0
    assert score(r"so \boxed{}") == 0.0
    assert score(r"so \boxed{x") == 0.0
    assert score(r"<think>\boxed{x}</think> no") == 0.0


def test_format_regex():
    score = format_reward(FormatConfig(regex=r"(?s)^<a>.+</a>$"))
    assert score("<a>x\ny</a>") == 1.0
    assert score("<a></a>") == 0.0


def test_format_takes_exactly_one_of_its_settings():
    for settings in (
        {},
        {"boxed": True, "regex": "a"},
        {"tags": []},
        {"tags": ["a b"]},
        {"regex": "("},
    ):
        with pytest.raises(ValueError):
            FormatConfig.model_validate(settings)


def test_format_is_linear_in_hostile_text():
    for score in (
        format_reward(FormatConfig(tags=["think", "answer"])),
        format_reward(FormatConfig(boxed=True)),
        format_reward(
            FormatConfig(regex=r"^(<think>(.|\n)*</think>\s*)+<answer>(a|aa)*</answer>$")
        ),
    ):
        for unit in ("<think></think>", "<think>", "<answer>a", " ", "\\boxed{", "aa"):
            begin = time.process_time()
            score("<think></think><answer>" + unit * (64_000 // len(unit)))
            assert time.process_time() - begin < 1.0


def test_length_has_linear_ramps():
    score = length(LengthConfig(unit="words", min=3, max=5, ramp=3))
    values = [score("w " * count, None) for count in range(11)]
    assert values == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert length(LengthConfig(unit="characters", max=3))("abcd", None) == 0.0
    assert length(LengthConfig(max=3, ramp=1))("ignored", 4) == 0.5


def test_length_abstains_where_tokens_are_not_known():
    assert length(LengthConfig(max=3))("text", None) is None


def test_length_needs_a_range():
    for settings in ({}, {"min": 5, "max": 4}, {"max": -1}, {"unit": "lines", "max": 1}):
        with pytest.raises(ValueError):
            LengthConfig.model_validate(settings)

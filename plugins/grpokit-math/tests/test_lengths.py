"""Rewards about length: golden values, the sources' quirks, degenerate groups."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from grpokit_math.rewards import lengths
from grpokit_math.rewards.lengths import CosineConfig, LenConfig, OverlongConfig

RIGHT, WRONG = "\\boxed{4}", "\\boxed{5}"


@pytest.mark.parametrize(
    ("text", "tokens", "score"),
    [
        (RIGHT, 0, 1.0),
        (RIGHT, 500, 0.75),
        (RIGHT, 1000, 0.5),
        (WRONG, 0, -1.0),
        (WRONG, 500, -0.75),
        (WRONG, 1000, -0.5),
        ("", 500, -0.75),
        (RIGHT, 250, 0.5 + 0.25 * (1 + math.sqrt(0.5))),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_cosine(text, tokens, score, legacy):
    found = lengths.cosine_length(CosineConfig(legacy=legacy, unit="tokens"))(text, "4", tokens)
    assert found == pytest.approx(score)


def test_cosine_beyond_its_end():
    assert lengths.cosine_length(CosineConfig())(RIGHT, "4", 2000) == 0.5
    # The cosine of open-r1 comes back up: twice too long is as good as empty.
    legacy = lengths.cosine_length(CosineConfig(legacy=True, unit="tokens"))
    assert legacy(RIGHT, "4", 2000) == pytest.approx(1.0)
    assert lengths.cosine_length(CosineConfig(exceeded=-10.0))(RIGHT, "4", 1000) == -10.0
    assert lengths.cosine_length(CosineConfig(exceeded=-10.0))(RIGHT, "4", 999) > 0.5


def test_cosine_in_characters_and_words():
    in_characters = lengths.cosine_length(CosineConfig(unit="characters", max=18))
    assert in_characters(RIGHT, "4", None) == pytest.approx(0.75)  # 9 of 18
    in_words = lengths.cosine_length(CosineConfig(unit="words", max=2))
    assert in_words(f"so {RIGHT}", "4", None) == pytest.approx(0.5)


def test_cosine_without_a_gold_answer_or_a_length():
    assert lengths.cosine_length(CosineConfig())(RIGHT, None, 10) is None
    assert lengths.cosine_length(CosineConfig())(RIGHT, "4", None) is None
    assert lengths.cosine_length(CosineConfig(legacy=True))(RIGHT, None, 10) == 1.0


@pytest.mark.parametrize(
    ("tokens", "score"), [(0, 0.0), (80, 0.0), (90, -0.5), (99, -0.95), (100, -1.0), (101, -1.0)]
)
def test_overlong(tokens, score):
    found = lengths.soft_overlong(OverlongConfig(max=100, cache=20))(tokens)
    assert found == pytest.approx(score)


def test_overlong_has_the_numbers_of_the_paper():
    score = lengths.soft_overlong(OverlongConfig())
    assert (score(16_384), score(18_432), score(20_480)) == (0.0, -0.5, -1.0)
    assert score(None) is None


def test_overlong_says_where_it_never_acts():
    config = OverlongConfig()
    setting, fact, remedy = config.misfit(prompts=1, group=2, max_tokens=1024)
    assert setting == "max"
    assert "16384" in fact
    assert "1024" in fact
    assert remedy == "set max: 1024 and cache: 204"
    assert OverlongConfig(max=1024, cache=204).misfit(prompts=1, group=2, max_tokens=1024) is None
    with pytest.raises(ValidationError, match="above max"):
        OverlongConfig(max=100, cache=101)


def test_len_reward():
    score = lengths.len_reward(LenConfig())
    found = score([RIGHT, RIGHT, RIGHT, WRONG, WRONG], "4", [10, 20, 30, 10, 25])
    assert found == [0.5, 0.0, -0.5, 0.0, -0.25]


def test_len_reward_of_equal_lengths_and_of_one():
    score = lengths.len_reward(LenConfig())
    assert score([RIGHT, WRONG], "4", [7, 7]) == [0.0, 0.0]
    assert score([RIGHT], "4", [7]) == [0.0]


def test_len_reward_abstains():
    score = lengths.len_reward(LenConfig())
    assert score([RIGHT, WRONG], None, [1, 2]) == [None, None]
    assert score([RIGHT, WRONG], "4", [1, None]) == [None, None]
    in_characters = lengths.len_reward(LenConfig(unit="characters"))
    assert in_characters([RIGHT, f"{RIGHT}!"], "4", [None, None]) == [0.5, -0.5]


def test_len_reward_of_open_r1_looks_at_the_whole_step():
    score = lengths.len_reward(LenConfig(legacy=True, unit="tokens"))
    found = score([RIGHT, RIGHT, "x", WRONG], ["4", "4", None, "4"], [0, 50, 100, 0])
    assert found == [0.5, 0.0, -0.5, 0.0]


@pytest.mark.parametrize(("legacy", "share"), [(False, 0.5), (True, 0.25)])
def test_what_is_counted_unless_it_is_said(legacy, share):
    """open-r1 counts characters: 9 of them here, and 18 tokens."""
    cosine = lengths.cosine_length(CosineConfig(max=36, legacy=legacy))
    expected = 0.5 + 0.25 * (1 + math.cos(math.pi * share))
    assert cosine(RIGHT, "4", 18) == pytest.approx(expected)
    texts, tokens = [RIGHT, f"so {RIGHT}"], [2, 1]
    golds = ["4", "4"] if legacy else "4"
    found = lengths.len_reward(LenConfig(legacy=legacy))(texts, golds, tokens)
    assert found == ([0.5, -0.5] if legacy else [-0.5, 0.5])

"""Repetition, tags, steps and scripts: golden values and the sources' quirks."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from grpokit_math.rewards import language, shape
from grpokit_math.rewards.language import MixConfig, script_of
from grpokit_math.rewards.shape import RepetitionConfig, StepsConfig, TagCountConfig


@pytest.mark.parametrize(
    ("n", "text", "score"),
    [
        (2, "5 5 5 5 5", -0.75),
        (3, "a b c d", 0.0),
        (3, "Go go GO go go", -2 / 3),
        (1, "a b a b", -0.5),
        (3, "two words", None),
        (1, " \n", None),
    ],
)
def test_repetition(n, text, score):
    found = shape.repetition(RepetitionConfig(n=n))(text)
    assert found == (score if score is None else pytest.approx(score))
    legacy = shape.repetition(RepetitionConfig(n=n, legacy=True))(text)
    assert legacy == pytest.approx(score or 0.0)


def test_repetition_of_characters():
    score = shape.repetition(RepetitionConfig(n=2, unit="characters", max_penalty=-2.0))
    assert score("哈哈哈哈哈") == pytest.approx(-1.5)


FORM = "<think>\nso\n</think>\n<answer>\n4\n</answer>"


@pytest.mark.parametrize(
    ("text", "default", "legacy"),
    [
        (FORM, 1.0, 1.0),
        (FORM.replace("\n", ""), 1.0, 0.0),
        ("<think>", 0.25, 0.0),
        ("<think><think>", 0.0, 0.0),
        ("\n</answer>\n<answer>\n\n</think>\n<think>\n", 0.25, 1.0),
        ("", 0.0, 0.0),
    ],
)
def test_tags(text, default, legacy):
    assert shape.tag_count(TagCountConfig())(text) == default
    assert shape.tag_count(TagCountConfig(legacy=True))(text) == legacy


@pytest.mark.parametrize(
    ("text", "default", "legacy"),
    [
        ("Step 1: a\nStep 2: b\nStep 3: c", 1.0, 1.0),
        ("1. a\n2. b\n3. c", 1.0, 1 / 3),
        ("First, a. Next, b.", 2 / 3, 2 / 3),
        ("- a\n- b", 2 / 3, 1 / 3),
        ("x\n--- y\n-5", 0.0, 2 / 3),
        ("It took 3 steps.", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_steps(text, default, legacy):
    assert shape.reasoning_steps(StepsConfig())(text) == pytest.approx(default)
    assert shape.reasoning_steps(StepsConfig(legacy=True))(text) == pytest.approx(legacy)


def test_the_legacy_steps_are_those_of_the_expression():
    pattern = r"(Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,)"
    tokens = (
        "Step 1:",
        "Step 12",
        "\n",
        "1.",
        "23.",
        "\n-",
        "\n*",
        "First,",
        "first,",
        "Next,",
        " ",
    )
    score = shape.reasoning_steps(StepsConfig(legacy=True))
    for seed in range(2000):
        rng = random.Random(seed)
        text = "".join(rng.choices(tokens, k=rng.randrange(6)))
        assert score(text) == min(1.0, len(re.findall(pattern, text)) / 3)


def test_more_steps_can_be_asked():
    assert shape.reasoning_steps(StepsConfig(steps=4))("First, a. Next, b.") == 0.5


@pytest.mark.parametrize(
    ("settings", "text", "score"),
    [
        ({}, "The angle π is 3.14", 0.0),
        ({}, "So 所以 x", -0.4),  # two of five letters
        ({}, "это", -1.0),
        ({}, "3.14 + 2 = ?", None),
        ({}, "", None),
        ({}, "\U0001d465 \u2208 \u211d", 0.0),
        ({"script": "han", "also": []}, "所以 x", -1 / 3),
        ({"script": "kana", "also": ["han", "latin"]}, "だから答えは x", 0.0),
        ({"script": "hangul"}, "답은 오", 0.0),
    ],
)
def test_scripts(settings, text, score):
    found = language.language_mix(MixConfig(**settings))(text)
    assert found == (score if score is None else pytest.approx(score))


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("latin", "LATIN"),
        ("greek", "GREEK"),
        ("cyrillic", "CYRILLIC"),
        ("hebrew", "HEBREW"),
        ("arabic", "ARABIC"),
        ("devanagari", "DEVANAGARI"),
        ("thai", "THAI"),
        ("hangul", "HANGUL"),
        ("han", "CJK UNIFIED IDEOGRAPH"),
    ],
)
def test_the_blocks_are_those_of_unicode(script, word):
    """Most letters of the basic plane that carry a script's name are of that script here, and no others."""
    found = [
        chr(code) for code in range(0x10000) if unicodedata.name(chr(code), "").startswith(word)
    ]
    letters = [char for char in found if char.isalpha()]
    hits = sum(script_of(char) == script for char in letters)
    assert hits >= 0.8 * len(letters)
    assert not {script_of(char) for char in letters} - {script, ""}

"""Sums, e-mails and rubrics, worked by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from grpokit_math.rewards.arithmetic import ArithmeticConfig, arithmetic
from grpokit_math.rewards.boxed import boxed_format
from grpokit_math.rewards.email import EmailConfig, email
from grpokit_math.rewards.rubric import RubricConfig, RubricItem, rubric


@pytest.mark.parametrize(
    ("completion", "answer", "number", "match"),
    [
        ("It is 4.", "4", 1.0, 3.0),
        ("It is 4.0", 4, 1.0, 3.0),
        ("It is 5.", "4", 1.0, -3.0),
        ("No idea.", "4", -1.0, -3.0),
        ("", "0", -1.0, -3.0),
        ("<think>4", "4", -1.0, -3.0),
    ],
)
def test_arithmetic(completion, answer, number, match):
    found = arithmetic(ArithmeticConfig())(completion, answer)
    assert found.value == number + match
    assert found.components == {"number": number, "match": match}


def test_arithmetic_of_another_form_and_without_a_number():
    score = arithmetic(ArithmeticConfig(extract=["tag"]))
    assert score("<answer>4</answer> 5", "4").value == 4.0
    assert score("4", "4").value == -4.0
    assert score("4", "x") is None
    assert score("4", None) is None


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ("\\boxed{4}", 1.0),
        ("\\boxed{}", 0.0),
        ("\\boxed{4", 0.0),
        ("<think>\\boxed{4}</think>", 0.0),
        ("<think>\\boxed{4}", 0.0),
        ("4", 0.0),
    ],
)
def test_box(completion, score):
    assert boxed_format(completion) == score


SIGNED = """Dear Ann,

your invoice is paid.

B. Smith
12 High Street, Leeds
+44 113 496 0000
b.smith@example.org"""


def test_email():
    score = email(EmailConfig())
    found = score(SIGNED, answer="no", keyword="invoice", recipient="Ann")
    expected = {"keyword": 1.0, "recipient": 1.0, "exact": 0.0, "signature": 1.0, "length": 0.0}
    assert found.components == expected
    assert found.value == 3.0
    assert score(SIGNED, answer=SIGNED.upper(), keyword="invoice", recipient="ann").value == 4.0


def test_email_without_columns_has_fewer_parts():
    found = email(EmailConfig())(SIGNED)
    assert found.components == {"signature": 1.0, "length": 0.0}
    assert email(EmailConfig())("", answer=None, keyword="", recipient=" ").value == 0.0


def test_email_is_strict_about_words_length_and_signature():
    score = email(EmailConfig(max_words=5))
    for word in ("The planning", "Joann", "Annual"):
        assert score(word, recipient="Ann").components["recipient"] == 0.0
    assert score("Ann, planned", recipient="Ann").components["recipient"] == 1.0
    assert score("a b c d e f").value == -1.0
    for line in ("12 High Street, Leeds", "+44 113 496 0000", "b.smith@example.org"):
        assert email(EmailConfig())(SIGNED.replace(line, "")).value == 0.0
    far = SIGNED + "\nps" * 9
    assert email(EmailConfig())(far).value == 0.0


ITEMS = [
    {"name": "polite", "contains": ["please", "thank"], "weight": 1.0},
    {"name": "names-it", "column": "topic", "weight": 2.0},
    {"name": "short", "max_words": 6, "weight": 1.0},
    {"name": "robotic", "contains": ["as an ai"], "weight": -3.0},
]


def build(**settings):
    return rubric(RubricConfig.model_validate({"items": ITEMS} | settings))


@pytest.mark.parametrize(
    ("completion", "total"),
    [
        ("Please pay the rent.", 4.0),
        ("Pay the rent.", 3.0),
        ("As an AI I thank you for the rent", -0.0),
        ("", 0.0),
        ("<think>please, the rent", 0.0),
        ("<think>please</think>rent", 3.0),
    ],
)
def test_rubric(completion, total):
    row = {"topic": "rent"}
    assert build()(completion, row).value == pytest.approx(total / 4)
    assert build(normalise=False)(completion, row).value == pytest.approx(total)


def test_rubric_parts_and_missing_columns():
    assert build()("Please pay.", {}).components == {"polite": 1.0, "short": 1.0, "robotic": 0.0}
    assert build()("Please pay.", {"topic": None}).value == 1.0
    only = RubricConfig.model_validate({"items": [ITEMS[1]]})
    assert rubric(only)("rent", {}) is None


def test_rubric_ends_and_least_words():
    items = [
        {"name": "ends", "ends_with": ["Yours", "Best"]},
        {"name": "long", "min_words": 3},
        {"name": "number", "regex": "[0-9]+ (euros|dollars)", "weight": 2.0},
    ]
    score = rubric(RubricConfig.model_validate({"items": items}))
    assert score("5 dollars, yours \n", {}).value == 1.0
    assert score("Best", {}).value == 0.25
    assert score("50 euros", {}).components == {"ends": 0.0, "long": 0.0, "number": 1.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"items": []},
        {"items": [{"name": "a"}]},
        {"items": [{"name": "a", "contains": ["x"], "max_words": 3}]},
        {"items": [{"name": "a", "contains": [" "]}]},
        {"items": [{"name": "a", "regex": "(a"}]},
        {"items": [{"name": "a", "regex": "(a)\\1"}]},
        {"items": [{"name": "a", "min_words": 1}, {"name": "a", "max_words": 3}]},
        {"items": [{"name": "a", "min_words": 1, "weight": -1.0}]},
    ],
)
def test_a_rubric_that_says_nothing_is_refused(settings):
    with pytest.raises(ValidationError):
        RubricConfig.model_validate(settings)
    assert RubricItem(name="a", min_words=1).weight == 1.0

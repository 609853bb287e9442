"""brier: the paper's numbers, the released sum, and what silence earns."""

from __future__ import annotations

import pytest

from grpokit_rewards_intrinsic.confidence import confidence_of, in_order


def said(answer: str, confidence: str) -> str:
    return f"<answer>{answer}</answer><confidence>{confidence}</confidence>"


@pytest.mark.parametrize(
    ("answer", "confidence", "value"),
    [
        ("5", "0.9", 0.99),
        ("6", "0.9", -0.81),
        ("6", "0.1", -0.01),
        ("5", "90%", 0.99),
        ("5", "1", 1),
    ],
)
def test_the_papers_form(build, answer, confidence, value):
    score = build("brier", extract=["tag"])(said(answer, confidence), "5")
    assert score.value == pytest.approx(value)


def test_the_released_sum(build):
    score = build("brier", extract=["tag"], form="released")
    assert score(said("5", "0.9"), "5").value == pytest.approx(0.5 + 0.5 + 0.5 * 0.99)
    assert score(said("6", "0.9"), "5").value == pytest.approx(0.5 + 0.5 * 0.19)
    assert score("<answer>5</answer>", "5").value == 0.0
    other = build("brier", extract=["tag"], form="released", weights=[0, 1, 2])
    assert other(said("5", "0.5"), "5").value == pytest.approx(1 + 2 * 0.75)


def test_silence_never_pays(build):
    score = build("brier", extract=["tag"])
    for answer, worst in (("5", 0.0), ("6", -1.0)):
        stated = [score(said(answer, q), "5").value for q in ("0", "0.5", "1", "100%")]
        assert min(stated) == worst
        for text in (f"<answer>{answer}</answer>", said(answer, "sure"), said(answer, "85")):
            assert score(text, "5").value == worst, text
    assert score(said("", "0.1"), "5").value == -1.0
    assert score("", "5").value == -1.0
    assert build("brier", extract=["tag"], missing="abstain")("", "5").value is None
    assert score("", None) is None


def test_the_right_answer_is_the_graders(build):
    score = build("brier", extract=["tag"])(said("0.5", "1"), "\\frac{1}{2}")
    assert score.components["right"] == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.25", 0.25), (" .5 ", 0.5), ("1.", 1.0), ("0", 0.0), ("50 %", 0.5), ("100%", 1.0),
        ("1.01", None), ("101%", None), ("-0.1", None), ("85", None), ("1e-3", None), ("nan", None),
        ("half", None), ("0.5 or so", None), ("\u0660", None), ("9" * 5000, None), ("", None),
    ],
)  # fmt: skip
def test_a_confidence_is_a_number_to_1_or_a_percentage(text, value):
    assert confidence_of(f"x <confidence>{text}</confidence>", "confidence") == value


ORDER = ("think", "answer", "confidence")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("a</think>\n<answer>5</answer> <confidence>1</confidence>\n", True),
        ("<think>a</think><answer>5</answer><confidence>1</confidence>", True),
        ("<answer>5</answer><confidence>1</confidence>", False),
        ("</think><confidence>1</confidence><answer>5</answer>", False),
        ("</think><answer>5</answer><confidence>1</confidence> bye", False),
        ("</think><answer>5</answer> so <confidence>1</confidence>", False),
        ("</think><answer>5<confidence>1</confidence>", False),
    ],
)
def test_blocks_in_their_order(text, fits):
    assert in_order(text, ORDER) is fits


def test_the_declared_blocks_are_asked_for(build):
    score = build("brier", extract=["tag"], blocks=list(ORDER))
    assert score(said("5", "1"), "5").value == 0.0
    assert score(said("6", "0"), "5").value == -1.0
    assert score("hm</think>" + said("5", "1"), "5").value == 1.0

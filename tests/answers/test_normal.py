"""The form in which answers are compared with each other."""

import pytest

from grpokit.answers.normal import marked_answer, normal_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("0.5", "1/2"),
        ("1/2", "1/2"),
        ("\\frac{2}{4}", "1/2"),
        ("7.0", "7"),
        ("$1,000", "1000"),
        ("\u22127", "-7"),
        ("north  west ", "north west"),
        ("x + 1", "x + 1"),
        ("  ", None),
        ("", None),
    ],
)
def test_equal_answers_are_equal_texts(text, normal):
    assert normal_answer(text) == normal


@pytest.mark.parametrize(
    ("gold", "normal"),
    [
        ("He has 3 + 4 = 7.\n#### 7", "7"),
        ("So \\boxed{\\frac12}.", "1/2"),
        ("<answer> east </answer>", "east"),
        (18, "18"),
        (0.5, "1/2"),
        ("#### ", None),
        (None, None),
    ],
)
def test_of_a_whole_solution_the_answer_that_it_marks(gold, normal):
    assert marked_answer(gold) == normal

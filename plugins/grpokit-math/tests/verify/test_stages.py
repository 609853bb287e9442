"""Which stage decided, and what a declared tolerance accepts."""

from __future__ import annotations

import pytest

from grpokit_math.verify import verify


@pytest.mark.parametrize(
    ("gold", "answer", "stage"),
    [
        ("5", None, "none"),
        ("5", "", "none"),
        ("", "", "none"),
        ("5", "$ $", "none"),
        ("5", "5", "text"),
        ("5", "10/2", "number"),
        ("5", "6", "number"),
        ("1,2", "2,1", "set"),
        ("(1,2)", "(2,1)", "set"),
        ("2x", "x+x", "symbolic"),
        ("\\sin 2x", "2\\sin x\\cos x", "symbolic"),
        ("5", "2^{1000000000}", "gate"),
        ("5", "1" * 513, "gate"),
    ],
)
def test_the_stage_that_decided(gold, answer, stage):
    assert verify(gold, answer, seconds=20).stage == stage


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "correct"),
    [
        ("3.14159", "3.14", 0.0, False),
        ("3.14159", "3.14", 0.001, True),
        ("3.14159", "3.14", 0.0001, False),
        ("2\\sqrt{3}", "3.46", 0.01, True),
        ("2\\sqrt{3}", "3.4", 0.01, False),
        ("1000", "1001", 0.01, True),
        ("0.001", "0.002", 0.01, False),
        ("0", "0.0001", 0.01, False),
        ("100", "99", 0.01, True),
        ("-5", "5", 0.5, False),
        ("(1,2)", "(1.001,2)", 0.01, True),
    ],
)
def test_tolerance_is_relative_and_only_where_declared(gold, answer, tolerance, correct):
    assert verify(gold, answer, tolerance=tolerance, seconds=20).correct is correct

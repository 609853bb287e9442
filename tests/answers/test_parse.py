from __future__ import annotations

import time
from fractions import Fraction

import pytest

from grpokit.api import last_number, parse_number

NUMBERS = {
    "72": 72, "-5": -5, "+72": 72, "072": 72, "0": 0, ".5": "1/2", "18.": 18, "18.0": 18,
    "1,234": 1234, "1,234,567.5": "2469135/2", "1,00,000": 100000, "12,34,567": 1234567,
    "10{,}080": 10080, "10,\\!080": 10080, "$1,234.50": "2469/2", "-$5": -5, "$-5": -5, "$ -5": -5,
    "\\$32,348": 32348, "20%": 20, "20\\%": 20, "1/2": "1/2", "-1/2": "-1/2", "1 / 2": "1/2",
    "3 1/2": "7/2", "-3 1/2": "-7/2", "3\\frac{1}{2}": "7/2", "\\frac{1}{2}": "1/2",
    "\\dfrac{-1}{2}": "-1/2", "\\frac{1}{-2}": "-1/2", "-\\frac12": "-1/2", "\\frac1{72}": "1/72",
    "3.0 \\times 10^8": 300000000, "3 \\cdot 10^{-2}": "3/100", "2e5": 200000, "1E-2": "1/100",
    "**72**": 72, "`72`": 72, "$18$": 18, "\\(18\\)": 18, "{18}": 18, "\\text{18}": 18,
    "\\mathrm{18}": 18, "\\boxed{72}": 72, "Answer: 72": 72, "The final answer is 72.": 72,
    "x = 36": 36, "x_2 = 5": 5, "total cost = 36": 36, "42 dollars": 42, "10 cm": 10, "5 m": 5,
    "6 \\text{ cm}^2": 6, "60 km/h": 60, "90°": 90, "90^\\circ": 90, "90^{\\circ}": 90,
    "\u221242": -42, "\u201342": -42, "\uff14\uff12": 42, "4\u00a0": 4, "\t7\n": 7,
    "0.1": "1/10", "10000000000000000000000001": 10**25 + 1,
}  # fmt: skip

NO_NUMBERS = [
    "", " ", "none", "not 42", "\\text{not } 42", "5 or 6", "5 and 6", "40, 41, 42", "1,2,3", "3,5",
    "1,23", "12,345,6", "5:30", "4^2", "4\u00b2", "2^{100}", "41=42", "6*7=42", "x \\ne 42", "x != 42",
    "x > 42", "-x = 42", "2x = 42", "5x", "5m", "5\\pi", "5 pi", "\\sqrt{4}", "42 million", "42k",
    "half", "5 \\pm 10^9", "[1, 2]", "(1, 2)", "{1, 2}", "\\{42\\}", "1/0", "\\frac{1}{0}", "1/2/3",
    "5/6/2024", "9**9**9**9", "10^10^10", "1e9999", "2e99999999", "4 2", "3 4/2", "3 1/2 1/2", "--5",
    "+-5", "5-3", "5 - 3", "42 is wrong", "answer: not 42", "4\u200b2", "\u0664\u0662", "10 - 15",
    "7" * 500, "7" * 5000, "{" * 300, "\\frac" * 90, "\\text{" * 80, "1" + "0" * 401, "NaN", "inf",
    "5 minutes 30 seconds", "\ud800", "4\x002", "5!", "5...", "5\u2026", "5-", "5 tenths", "5 possibly",
    "5 zillion", "5 seven", "5 seventeen", "5 nope", "5 gross", "5th", "5 isnt",
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS.items(), ids=ascii)
def test_one_plain_number_is_read_exactly(text, value):
    assert parse_number(text) == Fraction(value)


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text)[:30])
def test_everything_else_is_no_number(text):
    assert parse_number(text) is None


LAST = {
    "So she makes 9 * 2 = 18 dollars.": 18,
    "It costs $1,234.50.": "2469/2",
    "Word count: 150": 150,
    "5 - 8 = -3": -3,
    "-3": -3,
    "-$5": -5,
    "The range is 10-15": 15,
    "(7)-3": 3,
    "from 10 to -15": -15,
    "p is .5": "1/2",
    "about 1/2 of it": "1/2",
    "H2O weighs 18 and x_2 or m^2 does not": 18,
    "20%, I think": 20,
    "no numbers here": None,
    "": None,
    "it was 5, on 3/4/2024": None,
    "at 5:30": None,
    "it is 4^2": None,
    "it is 2**n": None,
    "The product is **42**.": 42,
    "**Answer: -42**": -42,
    "it is 4\u00b2": None,
    "1,2,3": None,
    "x1 y2": None,
}


@pytest.mark.parametrize(("text", "value"), LAST.items())
def test_the_last_number_that_stands_alone(text, value):
    assert last_number(text) == (None if value is None else Fraction(value))


@pytest.mark.parametrize(
    "text",
    [
        "7" * 1_000_000,
        "x1" * 500_000,
        "1/" * 500_000,
        "," * 1_000_000,
        "-" * 1_000_000,
        " " * 1_000_000,
    ],
    ids=lambda text: text[:4],
)
def test_a_megabyte_takes_linear_time(text):
    begin = time.process_time()
    last_number(text)
    parse_number(text)
    assert time.process_time() - begin < 2.0

r"""The rewards of the notebooks: their own expressions as golden values, and what the default repairs."""

from __future__ import annotations

import random
import re

import pytest
from pydantic import ValidationError

from grpokit_math.rewards import working
from grpokit_math.rewards.working import (
    ApproximateConfig,
    CloseConfig,
    ExactConfig,
    NumbersConfig,
    notebook_solution,
)

FORM = re.compile(
    r"<end_working_out>.*?<SOLUTION>(.+?)</SOLUTION>[\s]{0,}[\s]{0,}$", re.MULTILINE | re.DOTALL
)
FIRST_NUMBER = re.compile(r"<SOLUTION>.*?[\s]{0,}([-]?[\d\.\,]{1,})", re.MULTILINE | re.DOTALL)
TOKENS = (
    "<start_working_out>",
    "<end_working_out>",
    "<SOLUTION>",
    "</SOLUTION>",
    "\n",
    " ",
    "72",
    "-7",
    ".",
    "1,000",
    "66",
    "86",
    "x",
)


def drawn(seed: int) -> str:
    rng = random.Random(seed)
    start = "<end_working_out>" if rng.random() < 0.7 else ""
    middle = "<SOLUTION>" if rng.random() < 0.7 else ""
    parts = ["".join(rng.choices(TOKENS, k=rng.randrange(4))) for _ in range(3)]
    end = "</SOLUTION>" if rng.random() < 0.7 else ""
    return start + parts[0] + middle + parts[1] + end + parts[2]


TEXTS = [drawn(seed) for seed in range(8000)]


def notebook_close(text: str, gold: str) -> float:
    """The notebook's rule, said once more."""
    match = FORM.search(text)
    if match is None:
        return -2.0
    guess = match.group(1)
    if guess == gold:
        return 5.0
    if guess.strip() == gold.strip():
        return 3.5
    try:
        ratio = float(guess) / float(gold)
    except (ValueError, ZeroDivisionError):
        return -4.5
    if 0.9 <= ratio <= 1.1:
        return 2.0
    return 1.5 if 0.8 <= ratio <= 1.2 else -2.5


def notebook_number(text: str, gold: str) -> float:
    match = FIRST_NUMBER.search(text)
    if match is None:
        return -2.5
    try:
        return 3.5 if float(match.group(1).replace(",", "")) == float(gold) else -1.5
    except ValueError:
        return 0.0


def test_the_legacy_solution_is_the_group_of_the_expression():
    matched = 0
    for text in TEXTS:
        match = FORM.search(text)
        assert notebook_solution(text, ExactConfig()) == (match and match.group(1)), text
        matched += match is not None
    assert 500 < matched < 7500


def test_the_legacy_scores_are_those_of_the_notebook():
    close = working.proximity(CloseConfig(legacy=True))
    numbers = working.check_numbers(NumbersConfig(legacy=True))
    exact = working.match_format_exact(ExactConfig(legacy=True))
    seen_close, seen_numbers, seen_exact = set(), set(), set()
    for text in TEXTS:
        assert close(text, "72") == notebook_close(text, "72"), text
        assert numbers(text, "72") == notebook_number(text, "72"), text
        assert exact(text) == (3.0 if FORM.search(text) else 0.0), text
        seen_close.add(close(text, "72"))
        seen_numbers.add(numbers(text, "72"))
        seen_exact.add(exact(text))
    assert seen_close == {5.0, 3.5, 2.0, 1.5, -2.0, -2.5, -4.5}
    assert seen_numbers == {3.5, -1.5, -2.5, 0.0}
    assert seen_exact == {3.0, 0.0}


def solved(content: str) -> str:
    return f"9 * 8<end_working_out>\n<SOLUTION>{content}</SOLUTION>"


@pytest.mark.parametrize(
    ("content", "default", "legacy"),
    [
        ("72", 5.0, 5.0),
        (" 72 ", 3.5, 3.5),
        ("72.0", 3.5, 2.0),
        ("$72", 3.5, -4.5),
        ("70", 2.0, 2.0),
        ("79.2", 2.0, 2.0),  # 1.1 exactly
        ("64.8", 2.0, 1.5),  # 0.9 exactly, and a float just below it
        ("60", 1.5, 1.5),
        ("86", 1.5, 1.5),
        ("57", -2.5, -2.5),
        ("-72", -2.5, -2.5),
        ("nan", -4.5, -2.5),
        ("many", -4.5, -4.5),
        ("71 or 72", -4.5, -4.5),
        ("", -4.5, -2.0),
    ],
)
def test_proximity(content, default, legacy):
    assert working.proximity(CloseConfig())(solved(content), "72") == default
    assert working.proximity(CloseConfig(legacy=True))(solved(content), "72") == legacy


def test_proximity_without_the_form():
    for text in ("", "72", "<SOLUTION>72", "<think><SOLUTION>72</SOLUTION></think>"):
        assert working.proximity(CloseConfig())(text, "72") == -4.5
        assert working.proximity(CloseConfig(legacy=True))(text, "72") == -2.0
    # The default asks for a solution only; the form is another reward's business.
    assert working.proximity(CloseConfig())("<SOLUTION>72</SOLUTION>", "72") == 5.0


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_is_close_to_zero(legacy):
    score = working.proximity(CloseConfig(legacy=legacy))
    assert score(solved("0"), "0") == 5.0
    assert score(solved("0.0001"), "0") == (-4.5 if legacy else -2.5)


def test_a_gold_answer_that_is_no_number():
    for function in (working.proximity(CloseConfig()), working.check_numbers(NumbersConfig())):
        assert function(solved("x"), "x") is None
        assert function(solved("72"), "48 + 24\n#### 72") > 3
    assert working.check_numbers(NumbersConfig(legacy=True))(solved("x"), "x") == -2.5
    assert working.check_numbers(NumbersConfig(legacy=True))(solved("1"), "x") == 0.0


@pytest.mark.parametrize(
    ("content", "default", "legacy"),
    [
        ("72", 3.5, 3.5),
        (" $72.00 ", 3.5, 3.5),
        ("71", -1.5, -1.5),
        ("the 1st: 72", -2.5, -1.5),
        ("it is.", -2.5, 0.0),
        ("7,2", -2.5, 3.5),
        ("none", -2.5, -2.5),
    ],
)
def test_numbers(content, default, legacy):
    assert working.check_numbers(NumbersConfig())(solved(content), "72") == default
    assert working.check_numbers(NumbersConfig(legacy=True))(solved(content), "72") == legacy


def test_legacy_numbers_go_on_behind_the_solution():
    text = "<SOLUTION>none</SOLUTION> but 72"
    assert working.check_numbers(NumbersConfig())(text, "72") == -2.5
    assert working.check_numbers(NumbersConfig(legacy=True))(text, "72") == 3.5


@pytest.mark.parametrize(
    ("completion", "default", "legacy"),
    [
        (solved("72"), 3.0, 3.0),
        (f"{solved('72')} \n", 3.0, 3.0),
        (f"{solved('72')}\nmore", 0.0, 3.0),
        (f"{solved('72')} more", 0.0, 0.0),
        (f"<end_working_out>{solved('72')}", 0.0, 3.0),
        (solved(" "), 0.0, 3.0),
        (solved(""), 0.0, 0.0),
        ("<SOLUTION>72</SOLUTION><end_working_out>", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_the_exact_form(completion, default, legacy):
    assert working.match_format_exact(ExactConfig())(completion) == default
    assert working.match_format_exact(ExactConfig(legacy=True))(completion) == legacy


def test_the_approximate_form():
    score = working.match_format_approx(ApproximateConfig())
    assert score(solved("72")) == 1.5
    assert score("<SOLUTION>72</SOLUTION>") == 0.0
    assert score("<SOLUTION>72</SOLUTION></SOLUTION>") == -1.5
    assert score("") == -3.0
    four = working.match_format_approx(ApproximateConfig(reasoning_start="<start_working_out>"))
    assert four(solved("72")) == 0.5
    assert four(f"<start_working_out>{solved('72')}") == 2.0
    assert four("") == -4.0


def test_the_tags_can_be_others():
    config = CloseConfig(solution_start="[[", solution_end="]]", reasoning_end="==")
    assert working.proximity(config)("== [[72]]", "72") == 5.0
    assert working.match_format_exact(ExactConfig(**config.model_dump()))("== [[72]]") == 3.0


@pytest.mark.parametrize("name", ["reasoning_end", "solution_start", "solution_end"])
def test_an_empty_tag_is_refused(name):
    with pytest.raises(ValidationError):
        CloseConfig(**{name: ""})

r"""The five rewards of the GSM8K script: its own expressions as golden values, and what the default repairs."""

from __future__ import annotations

import random
import re

import pytest

from grpokit_math.rewards import gsm8k
from grpokit_math.rewards.scanners import soft_form, strict_form

TOKENS = (
    "<reasoning>",
    "</reasoning>",
    "<answer>",
    "</answer>",
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "x",
    "72",
    "-7",
    "²",
    "<reasoning>\n",
    "\n</reasoning>\n",
    "\n<answer>\n",
    "\n</answer>",
    "\n</answer>\n",
    "</reasoning>\n<answer>",
)
WHOLE = "<reasoning>\n9 * 8\n</reasoning>\n<answer>\n72\n</answer>\n"

LINE = "<reasoning>9 * 8</reasoning> <answer>72</answer>"


def drawn(seed: int) -> str:
    """Tags in disorder; half of the texts are the form with something put in."""
    rng = random.Random(seed)
    if rng.random() < 0.6:
        whole = rng.choice((WHOLE, WHOLE, LINE))
        at = rng.randrange(len(whole) + 1)
        return whole[:at] + "".join(rng.choices(TOKENS, k=rng.randrange(3))) + whole[at:]
    start = "<reasoning>" if rng.random() < 0.7 else ""
    return start + "".join(rng.choices(TOKENS, k=rng.randrange(12)))


TEXTS = [drawn(seed) for seed in range(8000)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (strict_form, r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$"),
        (soft_form, r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>"),
    ],
    ids=["strict", "soft"],
)
def test_the_legacy_forms_are_the_expressions_of_the_script(ours, theirs):
    pattern = re.compile(theirs)
    matched = 0
    for text in TEXTS:
        expected = pattern.match(text) is not None
        assert ours(text, legacy=True) == expected, text
        matched += expected
    assert matched > 100


def test_the_soft_form_is_the_expression_across_lines():
    pattern = re.compile(r"\s*<reasoning>.*?</reasoning>\s*<answer>.*?</answer>", re.DOTALL)
    matched = 0
    for text in TEXTS:
        expected = pattern.match(text) is not None
        assert soft_form(text) == expected, text
        matched += expected
    assert matched > 500


def test_the_strict_form_is_the_expression_across_lines_with_each_tag_once():
    pattern = re.compile(
        r"<reasoning>\n(.*?)\n</reasoning>\n<answer>\n(.*?)\n</answer>\n?\Z", re.DOTALL
    )
    tags = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
    matched = 0
    for text in TEXTS:
        match = pattern.match(text)
        filled = match is not None and all(part.strip() for part in match.groups())
        expected = filled and all(text.count(tag) == 1 for tag in tags)
        assert strict_form(text) == expected, text
        matched += expected
    assert matched > 500


def script_count(text: str) -> float:
    """The script's rule, said once more."""
    count = 0.0
    if text.count("<reasoning>\n") == 1:
        count += 0.125
    if text.count("\n</reasoning>\n") == 1:
        count += 0.125
    if text.count("\n<answer>\n") == 1:
        *_, tail = text.split("\n</answer>\n")
        count += 0.125 - len(tail) * 0.001
    if text.count("\n</answer>") == 1:
        *_, tail = text.split("\n</answer>")
        count += 0.125 - (len(tail) - 1) * 0.001
    return count


def test_the_legacy_rules_are_those_of_the_script():
    count = gsm8k.xml_count(gsm8k.XmlCountConfig(legacy=True))
    integer = gsm8k.int_format(gsm8k.IntConfig(legacy=True))
    right = gsm8k.correctness(gsm8k.CorrectnessConfig(legacy=True))
    seen = set()
    for text in TEXTS:
        answer = text.split("<answer>")[-1].split("</answer>")[0].strip()
        assert count(text) == pytest.approx(script_count(text), abs=1e-12)
        assert integer(text) == (0.5 if answer.isdigit() else 0.0)
        assert right(text, "72") == (2.0 if answer == "72" else 0.0)
        seen.add((integer(text), right(text, "72")))
    assert seen == {(0.0, 0.0), (0.5, 0.0), (0.5, 2.0)}


@pytest.mark.parametrize(
    ("completion", "answer", "default", "legacy"),
    [
        (WHOLE, "72", 2.0, 2.0),
        (WHOLE, 72, 2.0, 2.0),
        (WHOLE, "9 * 8 = <<9*8=72>>72\n#### 72", 2.0, 2.0),
        (WHOLE, "71", 0.0, 0.0),
        ("<answer>1,000</answer>", "1000", 2.0, 0.0),
        ("<answer>1000</answer>", "#### 1,000", 2.0, 2.0),
        ("<answer>$72.00</answer>", "72", 2.0, 0.0),
        ("72", "72", 0.0, 2.0),  # no tag at all
        ("<answer>72", "72", 0.0, 2.0),  # cut off
        ("72</answer>", "72", 0.0, 2.0),
        ("<think><answer>72</answer></think>", "72", 0.0, 2.0),
        ("<answer>71 or 72</answer>", "72", 0.0, 0.0),
        ("<answer></answer>", "72", 0.0, 0.0),
    ],
)
def test_correctness(completion, answer, default, legacy):
    assert gsm8k.correctness(gsm8k.CorrectnessConfig())(completion, answer) == default
    assert gsm8k.correctness(gsm8k.CorrectnessConfig(legacy=True))(completion, answer) == legacy


@pytest.mark.parametrize(
    ("answer", "default", "legacy"),
    [
        ("72", 0.5, 0.5),
        ("-72", 0.5, 0.0),
        ("1,000", 0.5, 0.0),
        ("7.5", 0.0, 0.0),
        ("7²", 0.0, 0.5),
        ("72 apples", 0.0, 0.0),
        ("1,2,3", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_an_integer(answer, default, legacy):
    text = f"<answer>\n{answer}\n</answer>"
    assert gsm8k.int_format(gsm8k.IntConfig())(text) == default
    assert gsm8k.int_format(gsm8k.IntConfig(legacy=True))(text) == legacy


def test_an_integer_without_tags():
    assert gsm8k.int_format(gsm8k.IntConfig())("72") == 0.0
    assert gsm8k.int_format(gsm8k.IntConfig(legacy=True))("72") == 0.5


MANY = WHOLE.replace("9 * 8", "9 * 8\n= 72")


@pytest.mark.parametrize(
    ("completion", "strict", "strict_legacy", "soft", "soft_legacy"),
    [
        (WHOLE, 0.5, 0.5, 0.5, 0.0),  # the prompt's own form does not match the soft expression
        (WHOLE.rstrip(), 0.5, 0.0, 0.5, 0.0),
        (MANY, 0.5, 0.0, 0.5, 0.0),
        (f" {WHOLE}", 0.0, 0.0, 0.5, 0.0),
        (f"{WHOLE}more", 0.0, 0.0, 0.5, 0.0),
        ("<reasoning>a</reasoning> <answer>b</answer>", 0.0, 0.0, 0.5, 0.5),
        ("<reasoning>a</reasoning>\n\n<answer>b</answer>", 0.0, 0.0, 0.5, 0.5),
        ("<reasoning>a</reasoning> or <answer>b</answer>", 0.0, 0.0, 0.0, 0.0),
        ("<answer>b</answer>", 0.0, 0.0, 0.0, 0.0),
        ("<reasoning>\n\n</reasoning>\n<answer>\n\n</answer>\n", 0.0, 0.5, 0.5, 0.0),
    ],
)
def test_the_forms(completion, strict, strict_legacy, soft, soft_legacy):
    assert gsm8k.strict_format(gsm8k.StrictConfig())(completion) == strict
    assert gsm8k.strict_format(gsm8k.StrictConfig(legacy=True))(completion) == strict_legacy
    assert gsm8k.soft_format(gsm8k.SoftConfig())(completion) == soft
    assert gsm8k.soft_format(gsm8k.SoftConfig(legacy=True))(completion) == soft_legacy


@pytest.mark.parametrize(
    ("completion", "default", "legacy"),
    [
        (WHOLE, 0.5, 0.5),
        (WHOLE.rstrip("\n"), 0.5, 0.5 - 0.001 * (len(WHOLE) - 1) + 0.001),
        (f"{WHOLE}0123456789", 0.489, 0.5 - 0.01 - 0.01),  # the break and ten characters
        (WHOLE + "x" * 1000, 0.0, 0.5 - 2.0),
        ("", 0.0, 0.0),
        ("<reasoning>\n", 0.0, 0.125),
        ("<reasoning>\nx", 0.125, 0.125),
    ],
)
def test_the_tags_are_counted(completion, default, legacy):
    assert gsm8k.xml_count(gsm8k.XmlCountConfig())(completion) == pytest.approx(default)
    assert gsm8k.xml_count(gsm8k.XmlCountConfig(legacy=True))(completion) == pytest.approx(legacy)

from __future__ import annotations

import time

import pytest

from grpokit.api import answered, last_boxed, last_hash, last_tag, strip_thinking


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("a", "a"),
        ("<think>x</think>a", "a"),
        ("a<think>x</think>b<think>y</think>c", "abc"),
        ("x</think>a", "a"),
        ("x</think>a<think>y</think>b", "ab"),
        ("<think>x", None),
        ("a<think>x</think>b<think>y", None),
        ("<think>a<think>b</think>c", "c"),
        ("", ""),
    ],
)
def test_thinking_does_not_count(text, rest):
    assert strip_thinking(text) == rest


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{41} no \boxed{42}", "42"),
        (r"\boxed{42} then \boxed{}", "42"),
        (r"\boxed{42} then \boxed{1, 2", "42"),
        (r"\boxed {5}", "5"),
        (r"\boxed 5.", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{ }", None),
        (r"\boxed{1, 2", None),
        (r"boxed{5}", None),
        (r"\boxed", None),
        ("", None),
    ],
)
def test_the_last_non_empty_complete_box_wins(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("#### 5", "5"),
        ("#### 7\nno\n#### 8\nend", "8"),
        ("#### 7\n####  \n", "7"),
        ("##### 5", "5"),
        ("### 5", None),
        ("####", None),
    ],
)
def test_the_last_hash_line_wins(text, content):
    assert last_hash(text) == content


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("<answer> 5 </answer>", "5"),
        ("<answer>5</answer><answer>6</answer>", "6"),
        ("<answer>5</answer><answer> </answer>", "5"),
        ("<answer>5</answer><answer>6", "5"),
        ("<answer><answer>5</answer>", "5"),
        ("</answer>5", None),
        ("<answer>5", None),
        ("<answer>5</answer", None),
    ],
)
def test_the_last_tag_wins(text, content):
    assert last_tag(text, "answer") == content


@pytest.mark.parametrize(
    "unit",
    ["\\boxed{", "\\boxed{}", "{", "}", "\\", "<answer>", "</answer>", "<answer></answer>", "<think>",
     "</think>", "<think></think>", "#", "####", "#### \n", " ", "\\boxed{}\\fbox{}"],
)  # fmt: skip
def test_a_hostile_megabyte_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    begin = time.process_time()
    strip_thinking(text)
    last_boxed(text)
    last_hash(text)
    last_tag(text, "answer")
    assert time.process_time() - begin < 3.0


@pytest.mark.parametrize(
    ("until", "text", "end"),
    [
        ("boxed", r"so \boxed{5}| and \boxed{6}", r"5"),
        ("boxed", r"\boxed{\frac{1}{2}}|.", r"\frac{1}{2}"),
        ("boxed", r"\boxed{} \boxed{ 7 }| \boxed{8}", "7"),
        ("boxed", r"\boxed {\{1\}}|.", r"\{1\}"),
        ("boxed", r"\boxed 5 \fbox{6}| x", "6"),
        ("boxed", r"<think>\boxed{1}</think>\boxed{2}| x", "2"),
        ("boxed", r"\boxed{\boxed{5}}|", r"5"),
        ("boxed", r"} { \boxed{a}|}", "a"),
        ("answer", "<answer> </answer><answer>4</answer>| 5", "4"),
        ("answer", "<think><answer>1</answer></think>|", None),
        ("hash", "#### 12\n| more", "12"),
        ("hash", "#### \n#### 3\n|", "3"),
        ("hash", "#### 3|", None),
        ("boxed", r"\boxed{5|", None),
        ("boxed", r"\boxed 5|", None),
        ("boxed", r"<think>\boxed{5} |", None),
    ],
)
def test_a_text_that_goes_on_holds_its_answer_from_its_first_complete_wrapper_on(until, text, end):
    """No beginning before the mark does, and the reader finds the same answer there."""
    before, after = text.split("|")
    whole = before + after
    first = next((n for n in range(len(whole) + 1) if answered(whole[:n], until)), None)
    if end is None:
        assert first is None
        return
    assert whole[:first] == before
    rest = strip_thinking(before) or ""
    readers = {"boxed": last_boxed, "hash": last_hash}
    read = readers[until](rest) if until in readers else last_tag(rest, "answer")
    assert read == end


def test_looking_for_an_answer_takes_linear_time():
    texts = ["\\boxed{" + "{}" * 100_000, "\\boxed{}" * 100_000, "<answer></answer>" * 50_000]
    start = time.perf_counter()
    for text in texts:
        answered(text, "boxed")
        answered(text, "answer")
        answered(text, "hash")
    assert time.perf_counter() - start < 2.0

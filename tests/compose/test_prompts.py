"""Templates: what they may hold, what becomes of a row, and the identity of a prompt."""

import hashlib
import json

import pytest

from grpokit.compose.prompts import (
    TEMPLATES,
    TemplateError,
    build_messages,
    fill,
    make_prompt,
    make_prompts,
    placeholders,
)
from grpokit.errors import PreflightError
from grpokit.spec.recipe import PromptSection

ROW = {"question": "What is 2 + {x}?", "answer": "4", "n": 3}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{question}", "What is 2 + {x}?"),
        ("{{{n}}}", "{3}"),
        ("\\boxed{{}}", "\\boxed{}"),
        ("{n}{n} }}{{", "33 }{"),
        ("no column", "no column"),
        ("", ""),
    ],
)
def test_fill(template, text):
    assert fill(template, ROW) == text


@pytest.mark.parametrize(
    "template",
    [
        "{", "}", "{}", "{question.__class__}", "{question[0]}", "{question!r}", "{n:>10000000}",
        "{0}", "{a{b}}", "{ question}", "\\boxed{}", "{question", "question}", "{\n}",
    ],
)  # fmt: skip
def test_anything_else_in_braces_is_refused(template):
    with pytest.raises(TemplateError):
        placeholders(template)


def test_placeholders_in_order_and_once():
    assert placeholders("{b} {a} {b} {{c}} {two words} {größe}") == ("b", "a", "two words", "größe")


def test_a_missing_column_is_said_with_those_that_are_there():
    with pytest.raises(PreflightError) as caught:
        build_messages(PromptSection(template="{problem}"), ROW, place="data set row 7")
    text = str(caught.value)
    assert text.startswith("data set row 7: the prompt uses the column 'problem'")
    assert "answer, n, question" in text
    assert "dataset.columns: {problem: EXISTING_COLUMN}" in text


def test_an_empty_column_is_no_question():
    with pytest.raises(PreflightError, match="is empty here"):
        build_messages(PromptSection(), {"question": None})
    assert build_messages(PromptSection(template="{n}"), {"n": 0})[0]["content"] == "0"


def test_built_in_templates():
    assert set(TEMPLATES) == {"plain", "boxed", "hash", "think-answer"}
    for name, template in TEMPLATES.items():
        messages = build_messages(PromptSection(use=name), ROW)
        assert messages[-1]["role"] == "user"
        assert ROW["question"] in messages[-1]["content"]
        assert template.summary.endswith(".")
    assert build_messages(PromptSection(), ROW) == ({"role": "user", "content": ROW["question"]},)
    assert "\\boxed{}" in build_messages(PromptSection(use="boxed"), ROW)[-1]["content"]
    assert "#### 42" in build_messages(PromptSection(use="hash"), ROW)[-1]["content"]
    system, _ = build_messages(PromptSection(use="think-answer"), ROW)
    assert system["role"] == "system"
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        assert tag in system["content"]


def test_the_recipe_replaces_either_message():
    section = PromptSection(use="boxed", system="Level {n}.", template="Q: {question}")
    assert build_messages(section, ROW) == (
        {"role": "system", "content": "Level 3."},
        {"role": "user", "content": "Q: What is 2 + {x}?"},
    )
    without = PromptSection(use="think-answer", system="")
    assert [m["role"] for m in build_messages(without, ROW)] == ["user"]


def test_examples_are_earlier_turns_in_the_same_form():
    section = PromptSection(
        template="{n}: {question}",
        examples=[
            {"question": "1 + 1?", "answer": "{2}"},
            {"question": "a?", "answer": "b", "n": "9"},
        ],
    )
    assert build_messages(section, ROW) == (
        {"role": "user", "content": "3: 1 + 1?"},
        {"role": "assistant", "content": "{2}"},
        {"role": "user", "content": "9: a?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "3: What is 2 + {x}?"},
    )


def test_the_id_is_that_of_messages_and_answer():
    prompt = make_prompt(PromptSection(), {"question": "é?", "answer": "4"}, 12)
    canonical = json.dumps(
        [[{"content": "é?", "role": "user"}], "4"], separators=(",", ":"), sort_keys=True
    )
    assert prompt.id == hashlib.sha256(canonical.encode()).hexdigest()[:16]
    assert (prompt.index, prompt.row["answer"]) == (12, "4")
    other = make_prompt(PromptSection(), {"question": "é?", "answer": "5"}, 12)
    same = make_prompt(PromptSection(), {"question": "é?", "answer": "4", "level": 1}, 13)
    assert other.id != prompt.id == same.id
    assert make_prompt(PromptSection(), {"question": "é?"}, 0).id != prompt.id


def test_equal_questions_stay_apart():
    """Seeds derive from the id: the same question twice in a step gets different answers."""
    other = {**ROW, "answer": "5"}
    prompts = make_prompts(PromptSection(), [ROW, other, ROW, ROW], (0, 1, 2, 3))
    first, second, *_ = prompts
    assert first.id != second.id
    assert [prompt.id for prompt in prompts[2:]] == [f"{first.id}#2", f"{first.id}#3"]
    assert [prompt.index for prompt in prompts] == [0, 1, 2, 3]
    assert first == make_prompt(PromptSection(), ROW, 0)


def test_an_unknown_template():
    with pytest.raises(PreflightError, match="boxed"):
        build_messages(PromptSection(use="boxd"), ROW)

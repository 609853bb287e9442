"""The published prompts, word for word, as a model receives them."""

from __future__ import annotations

import pytest

from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import build_messages
from grpokit.registry.catalog import Catalog
from grpokit_math.extract import as_text
from grpokit_math.templates.specs import PROMPTS

QUESTION = "How much is {1} \\frac{2}{3}?"
CPPO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. "
)
TAGS = (
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> "
    "tags, respectively, i.e., <think> reasoning process here </think>\n"
    "<answer> answer here </answer>."
)
BOX = (
    "And the answer should be of the following format: 'Therefore, the final answer is: "
    "$\\boxed{{ANSWER}}$. I hope it is correct' (without quotes) where ANSWER is just the final "
    "number or expression that solves the problem. "
)
EXPECTED = {
    "qwen-boxed": [
        f"{QUESTION}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
    ],
    "gsm8k-hash": [
        f'{QUESTION} Let\'s think step by step and output the final answer after "####".'
    ],
    "cppo-gsm8k": [CPPO + TAGS, QUESTION],
    "cppo-math": [CPPO + BOX + TAGS + " ", QUESTION],
    "working-out": [
        (
            "You are given a problem.\nThink about the problem and provide your working out.\n"
            "Place it between <start_working_out> and <end_working_out>.\n"
            "Then, provide your solution between <SOLUTION></SOLUTION>"
        ),
        QUESTION,
    ],
    "reasoning-answer": [
        (
            "\nRespond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n"
            "</answer>\n"
        ),
        QUESTION,
    ],
}


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


def messages(catalog, tmp_path, use):
    text = "grpokit: 1\nmodel: {id: m}\ndataset: {use: arithmetic}\nrewards: [{use: number}]\n"
    (tmp_path / "r.yaml").write_text(text + f"prompt: {{use: {use}}}\n")
    loaded = load_recipe("r.yaml", catalog=catalog, cwd=tmp_path)
    return build_messages(loaded.recipe.prompt, {"question": QUESTION})


@pytest.mark.parametrize("name", EXPECTED)
def test_word_for_word(catalog, tmp_path, name):
    found = messages(catalog, tmp_path, f"math/{name}")
    assert [message["content"] for message in found] == EXPECTED[name]
    assert [message["role"] for message in found] == ["system", "user"][-len(found) :]


def test_each_has_a_test():
    assert {spec.name for spec in PROMPTS} == {*EXPECTED, "gsm8k-few-shot"}


def test_the_lengths_of_the_released_prompts(catalog, tmp_path):
    for name, length in (("cppo-gsm8k", 399), ("cppo-math", 619)):
        assert len(messages(catalog, tmp_path, f"math/{name}")[0]["content"]) == length


@pytest.mark.parametrize(
    ("recipe", "name"), [("gsm8k-qwen-cppo", "cppo-gsm8k"), ("math-qwen7b-cppo", "cppo-math")]
)
def test_the_recipes_of_cppo_say_the_same(catalog, tmp_path, recipe, name):
    try:
        loaded = load_recipe(recipe, catalog=catalog)
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"the recipe needs grpokit-cppo: {error}")
    row = {"question": QUESTION, "problem": QUESTION}
    assert build_messages(loaded.recipe.prompt, row) == messages(catalog, tmp_path, f"math/{name}")


def test_the_examples_are_right_and_in_the_form_asked_for(catalog, tmp_path):
    from grpokit.api import last_hash, parse_number

    found = messages(catalog, tmp_path, "math/gsm8k-few-shot")
    assert [m["role"] for m in found] == ["system", *["user", "assistant"] * 4, "user"]
    assert found[-1]["content"] == QUESTION
    golds = [4 * 6 - 5, 12 + 12 // 2, 2 * 15 + 3 * (15 // 3), (200 - 200 // 4) // 10]
    for message, gold in zip(found[2::2], golds, strict=True):
        assert as_text(parse_number(last_hash(message["content"]))) == str(gold)
        assert message["content"].splitlines()[-1] == f"#### {gold}"

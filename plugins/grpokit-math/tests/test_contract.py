"""What all rewards of this plugin promise: the contract, no score without a gold answer, linear time."""

from __future__ import annotations

import importlib
import time
from functools import cache
from typing import Any

import pytest

from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import config_model, create
from grpokit.scoring.call import Batch, Item, Question, RewardCall
from grpokit.testing import check_reward
from grpokit_math.rewards.specs import REWARDS

SETTINGS: dict[str, dict[str, Any]] = {
    "rubric": {
        "items": [
            {"name": "short", "max_words": 30},
            {"name": "gold", "column": "answer", "weight": 2.0},
        ]
    }
}
NAMES = [spec.name for spec in REWARDS]
ABOUT_GOLD = [spec.name for spec in REWARDS if "answer" in spec.columns]
WITH_LEGACY = [
    "gsm8k-correctness",
    "gsm8k-int",
    "gsm8k-soft-format",
    "gsm8k-strict-format",
    "gsm8k-xml-count",
    "proximity",
    "match-format-exact",
    "check-numbers",
    "cosine-length",
    "len-reward",
    "repetition",
    "tag-count",
    "reasoning-steps",
]
CASES = [("accuracy", False)] + [(name, True) for name in WITH_LEGACY]
"""The others are asked on the rows of cases.yaml, by test_plugin."""


@cache
def catalog() -> Catalog:
    return Catalog.load()


def settings_of(name: str, *, legacy: bool) -> dict[str, Any]:
    return SETTINGS.get(name, {}) | ({"legacy": True} if legacy else {})


def scores(name: str, row: dict[str, Any], texts: list[str], *, legacy: bool = False) -> list[Any]:
    """Outcomes as a run gets them: the group of one prompt."""
    function = create(catalog().find("reward", f"math/{name}"), settings_of(name, legacy=legacy))
    question = Question(row, ({"role": "user", "content": "?"},))
    items = tuple(
        Item(question=0, sample=at, completion=text, tokens=len(text.split()))
        for at, text in enumerate(texts)
    )
    call = RewardCall(function)
    found: dict[int, Any] = {}
    pieces = (
        [list(range(len(texts)))] if call.asked.form != "row" else [[i] for i in range(len(texts))]
    )
    for number, piece in enumerate(pieces):
        outcomes: list[Any] = []
        call.run(Batch((question,), items), [piece], lambda _, hit, out=outcomes: out.extend(hit))
        found[number] = outcomes
    call.close()
    return [outcome for number in sorted(found) for outcome in found[number]]


def test_the_legacy_list_is_complete():
    found = []
    for name in NAMES:
        model = config_model(catalog().find("reward", f"math/{name}"))
        if model is not None and "legacy" in model.model_fields:
            found.append(name)
    assert found == [name for name in NAMES if name in WITH_LEGACY]
    assert len(found) == len(WITH_LEGACY)


@pytest.mark.parametrize(("name", "legacy"), CASES)
def test_the_contract(name, legacy):
    rows = ({"answer": "4"}, {"answer": "x^2"}, {"answer": 0}, {"answer": "2 + 2 = 4\n#### 4"})
    check_reward(f"math/{name}", *rows, settings=settings_of(name, legacy=legacy))


TEXTS = ["", "4", "\\boxed{4}", "<answer>\n4\n</answer>", "<end_working_out><SOLUTION>4</SOLUTION>"]


@pytest.mark.parametrize("name", ABOUT_GOLD)
@pytest.mark.parametrize("answer", [None, "", "  ", float("nan"), "no answer ####"])
def test_without_a_gold_answer_there_is_no_score(name, answer):
    for outcome in scores(name, {"answer": answer}, TEXTS):
        assert outcome.fault is None
        assert outcome.value is None


@pytest.mark.parametrize("name", ABOUT_GOLD)
def test_a_gold_answer_of_another_kind_is_a_failure_and_no_score(name):
    for outcome in scores(name, {"answer": {"a": 1}}, TEXTS):
        assert outcome.fault is not None
        assert "gold answer" in outcome.fault.message


@pytest.mark.parametrize("name", [*ABOUT_GOLD, "gsm8k-xml-count", "tag-count"])
def test_a_right_answer_earns_more_than_a_wrong_one_and_an_empty_one_no_more_than_that(name):
    def wrapped(value: str) -> str:
        return (
            f"<reasoning>\nsums\n</reasoning>\n<answer>\n{value}\n</answer>\n"
            f"\\boxed{{{value}}}<end_working_out><SOLUTION>{value}</SOLUTION>"
        )

    right, wrong, empty = (
        outcome.value
        for outcome in scores(name, {"answer": "72"}, [wrapped("72"), wrapped("5"), ""])
    )
    if name in ABOUT_GOLD and name != "len-reward":
        assert right > wrong
    if name not in ("len-reward", "cosine-length"):  # they look at lengths too
        assert empty <= wrong


HOSTILE = {
    "reasoning": "<reasoning>" * 10_000,
    "closings": "<reasoning>" + "</reasoning> " * 8_000,
    "joints": "<reasoning>" + "</reasoning><answer>" * 6_000,
    "spaces": "<reasoning></reasoning>" + " " * 100_000,
    "solutions": "<end_working_out>" + "<SOLUTION>5</SOLUTION> x" * 5_000,
    "ends": "<end_working_out><SOLUTION>5" + "</SOLUTION>" * 10_000,
    "spaced ends": "<end_working_out><SOLUTION>5" + "</SOLUTION>  x" * 8_000,
    "steps": "Step 1" * 20_000,
    "digits": "1" * 100_000 + ".",
    "dashes": "\n-" * 50_000,
    "mails": "a@" * 50_000,
    "address": "a" * 50_000 + "@" + "b." * 25_000,
    "phones": "+1 " * 33_000,
    "streets": "ab 1" * 25_000,
    "one line": "1 a" * 33_000,
    "words": "x " * 50_000,
    "keyword": "4" * 100_000,
}


@pytest.mark.parametrize(("name", "legacy"), CASES)
def test_hostile_text_takes_linear_time(name, legacy):
    for what, text in HOSTILE.items():
        row = {"answer": "4", "keyword": "44", "recipient": "x x"}
        began = time.process_time()
        scores(name, row, [text], legacy=legacy)
        assert time.process_time() - began < 1.0, what


def test_the_hook_imports_no_reward():
    module = importlib.import_module("grpokit_math.rewards.specs")
    assert set(vars(module)) & {"accuracy", "extract"} == set()

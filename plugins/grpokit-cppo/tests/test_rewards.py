"""The rewards on GSM8K: the authors' vectors, their regular expression, hostile text, real rows."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest

from grpokit.testing import check_reward
from grpokit_cppo.answers import gold_answer, has_form, single_number, tagged_answer
from grpokit_cppo.rewards import FormConfig, Gsm8kConfig, gsm8k_accuracy, think_answer_format

SHARED = Path(__file__).parents[4] / "shared"
FILE = SHARED / "vectors" / "cppo.json"
VECTORS: list[dict[str, Any]] = (
    json.loads(FILE.read_text("utf-8"))["gsm8k_reward_vectors"] if FILE.is_file() else []
)
GSM8K = SHARED / "data" / "gsm8k" / "test.jsonl"
needs_vectors = pytest.mark.skipif(
    not VECTORS, reason="../shared/vectors/cppo.json is not there, nor its reward vectors"
)

TOKENS = ("<think>", "</think>", "<answer>", "</answer>", "\n", "\n", "24", " ", "x", "-1.5")


@needs_vectors
def test_all_vectors_are_there():
    assert len(VECTORS) == 21


@needs_vectors
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("legacy", [False, True])
def test_vectors(vector, legacy):
    accuracy = gsm8k_accuracy(Gsm8kConfig(legacy=legacy))
    assert accuracy(vector["completion"], vector["gold_field"]) == vector["accuracy"]
    form = think_answer_format(FormConfig(legacy=legacy))(vector["completion"])
    repaired = not legacy and vector["name"] == "trailing text next line"
    assert form == (0.0 if repaired else vector["format"])


def drawn(seed: int) -> str:
    """Tags in disorder; half of the texts begin as the form does."""
    rng = random.Random(seed)
    start = "<think>" if rng.random() < 0.5 else ""
    middle = "</think>\n<answer>" if rng.random() < 0.5 else ""
    return start + middle.join(
        "".join(rng.choices(TOKENS, k=rng.randrange(6))) for _ in range(rng.randrange(1, 4))
    )


def test_the_form_is_the_regular_expression_of_the_authors():
    legacy = re.compile(r"^<think>.*?</think>\n<answer>.*?</answer>$", re.DOTALL | re.MULTILINE)
    strict = re.compile(r"<think>.*?</think>\n<answer>.*?</answer>\Z", re.DOTALL)
    seen: dict[tuple[bool, bool], int] = {}
    for seed in range(20_000):
        text = drawn(seed)
        old = bool(legacy.match(text))
        new = bool(strict.match(text.strip()))
        assert has_form(text, legacy=True) == old, text
        assert has_form(text) == new, text
        seen[old, new] = seen.get((old, new), 0) + 1
    assert min(seen.get(key, 0) for key in ((a, b) for a in (0, 1) for b in (0, 1))) >= 20


def test_the_answer_is_found_as_by_splitting():
    found = 0
    for seed in range(5_000):
        text = drawn(seed)
        parts = text.split("<answer>")
        last = parts[-1].split("</answer>")
        expected = last[0].strip().replace(",", "") if len(parts) > 1 and len(last) > 1 else None
        assert tagged_answer(text) == expected, text
        found += expected is not None
        numbers = re.findall(r"-?\d*\.?\d+", text)
        assert single_number(text) == (float(numbers[0]) if len(numbers) == 1 else None)
    assert found > 500


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("18", "#### 18", 2.0),
        ("1,234,567", "#### 1,234,567", 2.0),
        ("1234567", "so\n#### 1,234,567 ", 2.0),
        ("-.5", "#### -0.5", 1.5),
        ("0.50", "#### 1/2", 0.0),
        ("18 of 20", "#### 18", 0.0),
        ("eighteen", "#### 18", 0.0),
        ("", "#### 18", 0.0),
        ("...", "#### ...", 0.0),
        ("yes", "#### yes", 2.0),
        ("no", "#### yes", 0.0),
    ],
)
def test_accuracy(answer, gold, score):
    assert gsm8k_accuracy(Gsm8kConfig())(f"<answer> {answer} </answer>", gold) == score


def test_a_row_without_a_gold_answer_is_a_failure_and_was_a_gift():
    for row in ("18", "", "#### ", None):
        with pytest.raises(ValueError, match="no answer follows ####"):
            gsm8k_accuracy(Gsm8kConfig())("no answer", row)
    legacy = gsm8k_accuracy(Gsm8kConfig(legacy=True))
    assert legacy("no answer", "18") == 2.0
    assert legacy("<answer>18</answer>", "18") == 0.0


def test_the_gold_answer_ends_at_a_second_mark():
    assert gold_answer("a #### 1,000 #### 7") == "1000"
    assert gold_answer("a 7") is None


@pytest.mark.parametrize("reward", ["think-answer-format", "gsm8k-accuracy"])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_contract(reward, legacy):
    rows = [{"answer": "2 + 2\n#### 4"}, {"answer": "#### 1,234.5"}]
    check_reward(f"cppo/{reward}", *rows, settings={"legacy": legacy})


@pytest.mark.parametrize(
    "piece",
    ["</think>\n<answer>", "<think>", "<answer>", "</answer>", "</answer>\n", "<answer>1</answer>",
     "-", "1.", ".", "7", "-7", "\n", "</answer> "],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "<think>", "<think></think>\n<answer>"])
def test_a_hundred_thousand_hostile_characters_take_milliseconds(start, piece):
    text = start + piece * (100_000 // len(piece))
    text += "" if piece.startswith("<") else "</answer>"
    began = time.process_time()
    for legacy in (False, True):
        think_answer_format(FormConfig(legacy=legacy))(text)
        gsm8k_accuracy(Gsm8kConfig(legacy=legacy))(text, "#### 7")
    assert time.process_time() - began < 0.1


@pytest.mark.skipif(not GSM8K.is_file(), reason="../shared/data/gsm8k is not there")
def test_every_row_of_gsm8k_can_be_answered():
    accuracy = gsm8k_accuracy(Gsm8kConfig())
    form = think_answer_format(FormConfig())
    count = 0
    for line in GSM8K.read_text("utf-8").splitlines():
        solution = json.loads(line)["answer"]
        gold = solution.rpartition("####")[2].strip()
        text = f"<think>{solution}</think>\n<answer>{gold}</answer>"
        assert (accuracy(text, solution), form(text)) == (2.0, 1.0)
        assert accuracy(text.replace(f">{gold}<", f">about ${gold}.00<"), solution) == 1.5
        assert accuracy(text.replace(f">{gold}<", f">{gold}1<"), solution) == 0.0
        count += 1
    assert count == 1319

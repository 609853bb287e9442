"""What two evaluations may differ in, and what not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from grpokit.errors import PreflightError
from grpokit.evaluate.fingerprints import check_same_exam, differences

ENTRY: dict[str, Any] = {
    "label": "trained",
    "decides": "number",
    "threshold": 1.0,
    "accuracy": 0.8,
    "fingerprint": {
        "model": {
            "model": "smol",
            "revision": "",
            "weights": "b233",
            "adapter": "d99e",
            "chat_template": "872b",
            "tokenizer": "7d27",
            "stop_ids": [2],
            "dtype": "bfloat16",
            "backend": "hf",
            "versions": {"torch": "2.13.0"},
        },
        "grpokit": "0.1.0",
        "dataset": "b21f",
        "items": "62f8",
        "prompt": {"use": "plain", "system": "Answer.", "template": None, "examples": []},
        "sampling": {"group": 1, "max_tokens": 20, "temperature": 0.0, "seed": 42},
        "batch": 32,
        "rewards": {"number": "number 0.1.0 62c8 49af", "format": "format 0.1.0 4119 92ac"},
    },
}


def other(**paths: Any) -> dict[str, Any]:
    """The entry with other values: ``model__weights=...`` is fingerprint.model.weights."""
    found = copy.deepcopy(ENTRY)
    for path, value in paths.items():
        place = found if path in found else found["fingerprint"]
        *parents, key = path.split("__")
        for parent in parents:
            place = place[parent]
        place[key] = value
    return found


def test_the_same_measured_again() -> None:
    found = differences(ENTRY, other(accuracy=0.1, label="trained"))
    assert (found.model, found.exam, found.comparable) == ({}, {}, True)


def test_only_the_model_may_differ() -> None:
    found = differences(ENTRY, other(label="base", model__adapter="", model__weights="c0"))
    assert found.comparable
    assert found.model == {
        "label": ("trained", "base"),
        "model.weights": ("b233", "c0"),
        "model.adapter": ("d99e", ""),
    }


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model__chat_template": "x"}, "model.chat_template"),
        ({"model__tokenizer": "x"}, "model.tokenizer"),
        ({"model__stop_ids": [2, 3]}, "model.stop_ids"),
        ({"model__dtype": "float32"}, "model.dtype"),
        ({"model__rollouts": {"engine": "vllm"}}, "model.rollouts.engine"),
        ({"model__versions": {"torch": "2.14.0"}}, "model.versions.torch"),
        ({"prompt__system": "Think."}, "prompt.system"),
        ({"sampling__max_tokens": 40}, "sampling.max_tokens"),
        ({"dataset": "x"}, "dataset"),
        ({"items": "x"}, "items"),
        ({"rewards__number": "number 0.1.0 ffff 49af"}, "grader"),
        ({"decides": "format"}, "grader"),
        ({"threshold": 0.5}, "threshold"),
        ({"batch": 8}, "batch"),
        ({"grpokit": "0.2.0"}, "grpokit"),
    ],
)
def test_everything_else_must_not(change: dict[str, Any], key: str) -> None:
    found = differences(ENTRY, other(**change))
    assert list(found.exam) == [key]
    assert not found.comparable


def test_another_base_model_brings_its_tokenizer_but_not_its_template() -> None:
    found = differences(
        ENTRY,
        other(
            model__model="qwen",
            model__tokenizer="x",
            model__stop_ids=[7, 9],
            model__chat_template="y",
        ),
    )
    assert set(found.model) == {"model.model", "model.tokenizer", "model.stop_ids"}
    assert found.exam == {"model.chat_template": ("872b", "y")}


def test_a_reward_that_does_not_decide_may_differ() -> None:
    fewer = other(rewards={"number": ENTRY["fingerprint"]["rewards"]["number"]})
    found = differences(ENTRY, fewer)
    assert found.comparable
    assert found.model == {"rewards.format": ("format 0.1.0 4119 92ac", "(none)")}


def test_a_key_that_one_does_not_have() -> None:
    fewer = copy.deepcopy(ENTRY)
    del fewer["fingerprint"]["batch"]
    assert differences(ENTRY, fewer).exam == {"batch": (32, "(none)")}
    assert not differences(ENTRY, {"label": "x"}).comparable


def test_a_refusal_lists_every_key() -> None:
    with pytest.raises(PreflightError, match="more than the model") as error:
        check_same_exam(ENTRY, other(dataset="x", sampling__max_tokens=40), remedy="do this")
    assert error.value.problems == ("dataset: b21f and x", "sampling.max_tokens: 20 and 40")
    assert error.value.remedy == "do this"
    assert check_same_exam(ENTRY, other(label="base")).model == {"label": ("trained", "base")}

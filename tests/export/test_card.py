"""The model card from files of a run, hostile ones too."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from grpokit.export.card import RunFacts, model_card
from grpokit.spec.export import ExportResult
from grpokit.spec.recipe import Recipe

HOSTILE = (
    "x\n---\nlicense: mine\n# <img src=x onerror=alert(1)> ``` [a](javascript:b) | \u202e\x1b[2J"
)
RECIPE = {
    "grpokit": 1,
    "summary": HOSTILE,
    "model": {"id": "o/m"},
    "dataset": {"use": "arithmetic"},
    "rewards": [{"use": "number"}],
    "train": {"steps": 4},
}


def summary(temperature: float, **changes: Any) -> dict[str, Any]:
    model = {
        "label": HOSTILE,
        "items": 8,
        "correct": 3,
        "accuracy": 0.375,
        "interval": [0.137, 0.694],
        "truncated": 0.125,
        "decides": HOSTILE,
        "threshold": 1.0,
        "fingerprint": {
            "model": {"adapter": "a1", "weights": "w1", "versions": {HOSTILE: HOSTILE}},
            "sampling": {"temperature": temperature, "seed": 9, "max_tokens": 12},
        },
    }
    return {"models": [{**model, **changes}], "comparison": None}


def card(step: int | None, *evaluations: dict[str, Any]) -> tuple[dict[str, Any], str]:
    facts = RunFacts(
        name=HOSTILE,
        recipe=Recipe.model_validate(RECIPE),
        step=step,
        plan={"components": [{"role": HOSTILE, "id": HOSTILE}], "device": HOSTILE},
        metrics=({"step": 1, "reward": 0.5, "seconds": {"total": 1.0}},),
        evaluations=tuple((HOSTILE, each) for each in evaluations),
    )
    result = ExportResult(
        files=(),
        proof={"lines": [HOSTILE], "notes": [HOSTILE]},
        about={"base_model": HOSTILE, "adapter": "a1", "base_weights": "w1", "notes": [HOSTILE]},
        usage='load("FOLDER")\n',
    )
    text = model_card(
        facts, result, "adapter", license_="", recipe_text=HOSTILE, title=HOSTILE, place=HOSTILE
    )
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), re.sub(
        r"^(`{3,}).*?^\1$", "", body, flags=re.MULTILINE | re.DOTALL
    )


def test_text_of_files_is_only_text() -> None:
    front, prose = card(4, summary(0.0))
    assert set(front) == {"library_name", "pipeline_tag", "tags"}
    assert "<img" not in prose
    assert not re.search(r"(?<!\\)\[a\]", prose)
    assert not {"\x1b", "\u202e"} & set(prose)
    assert [line for line in prose.splitlines() if line.startswith("# ")] == [
        line for line in prose.splitlines() if line.startswith("# x ")
    ]


def test_how_an_evaluation_was_drawn() -> None:
    _, prose = card(4, summary(0.7))
    assert "sampled at temperature 0.7 with seed 9" in prose
    assert "3/8 | 37.5% | 13.7% to 69.4% | 12.5%" in prose
    assert "greedy" in card(4, summary(0.0))[1]


@pytest.mark.parametrize(
    ("step", "told"), [(4, "after 4 steps"), (2, "after 2 of 4"), (None, "after at most 4 steps")]
)
def test_how_far_training_went(step: int | None, told: str) -> None:
    assert told in card(step)[1]


def test_an_evaluation_of_other_weights_is_none_of_these() -> None:
    other = {"model": {"adapter": "a2", "weights": "w1"}}
    _, prose = card(4, summary(0.0, fingerprint=other))
    assert "Not evaluated. The run has 1 of other weights." in prose

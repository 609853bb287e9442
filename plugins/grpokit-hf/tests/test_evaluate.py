"""An evaluation in float32 does not depend on the order of questions, nor on how many are asked at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grpokit.evaluate import run
from grpokit.evaluate.records import Evaluation
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig


def recipe(model: Path, **changes: Any) -> Recipe:
    exam = {"dataset": {"use": "arithmetic", "with": {"split": "test"}}, "limit": 18}
    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(model), "lora": {"rank": 4}, "dtype": "float32"},
            "dataset": {"use": "arithmetic"},
            "rewards": [{"use": "contains", "with": {"text": "a"}}],
            "rollout": {"prompts": 4, "group": 4, "max_tokens": 12},
            "eval": {**exam, **changes},
        }
    )


def evaluated(wanted: Recipe, *, backwards: bool = False) -> Evaluation:
    exam = run.prepare(wanted, Catalog.load())
    if backwards:
        exam = replace(exam, prompts=exam.prompts[::-1])
    backend = HfBackend(HfConfig())
    backend.open_checkpoint(wanted, None)
    try:
        with exam.scorer() as scorer:
            return run.evaluate(backend, exam, label="m", scorer=scorer)
    finally:
        backend.close()


def answers(found: Evaluation) -> dict[tuple[str, int], str]:
    return {(item.id, item.sample): item.text for item in found.items}


@pytest.mark.parametrize(
    "changes", [{}, {"temperature": 1.0}, {"temperature": 0.8, "top_p": 0.9, "samples": 3}]
)
def test_neither_order_nor_batch_changes_an_answer(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    wanted = recipe(tiny_model_folder, **changes)
    found = evaluated(wanted)
    assert answers(evaluated(wanted)) == answers(found)
    assert answers(evaluated(wanted, backwards=True)) == answers(found)
    for batch in (1, 7, 60):
        monkeypatch.setattr(run, "BATCH", batch)
        other = evaluated(wanted)
        assert answers(other) == answers(found), batch
        assert (other.accuracy, other.interval) == (found.accuracy, found.interval)
    assert len(set(answers(found).values())) > 1

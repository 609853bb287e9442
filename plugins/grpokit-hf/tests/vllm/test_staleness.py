"""What keeps vLLM from drawing while the model trains is told by the plan; no vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.api import PreflightError, Recipe, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.vllm.preflight import vllm_problems
from vllm_runs import vllm_recipe

DIMENSIONS = {"num_attention_heads": 4, "hidden_size": 128}


def refused(recipe: Recipe, backend: dict[str, Any]) -> list[str]:
    data = recipe.model_dump(by_alias=True)
    data["backend"]["with"] |= backend
    recipe = Recipe.model_validate(data)
    config = HfConfig.model_validate(recipe.backend.with_)
    found = vllm_problems(recipe, config, DIMENSIONS, on_cpu=True)
    return [problem.key for problem in found if problem.code == "HF018"]


@pytest.mark.parametrize(
    ("backend", "rollout", "keys"),
    [
        ({}, {}, []),
        ({"rollouts": "transformers", "vllm": {}}, {}, ["backend.with.rollouts"]),
        ({"vllm": {"sleep": True}}, {}, ["backend.with.vllm.sleep"]),
        ({}, {"top_p": 0.9}, []),
        (
            {"vllm": {"sleep": True}},
            {"top_p": 0.9, "temperature": 0.8},
            ["backend.with.vllm.sleep", "rollout.temperature"],
        ),
    ],
)
def test_all_at_once(backend: dict[str, Any], rollout: dict[str, Any], keys: list[str]) -> None:
    model = Path("model")
    assert refused(vllm_recipe(model, rollout={**rollout, "staleness": 1}), backend) == keys
    assert refused(vllm_recipe(model, rollout=rollout), backend) == []


def test_a_backend_that_samples_from_its_policy_refuses() -> None:
    with pytest.raises(PreflightError, match=r"rollout\.staleness.*does not sleep.*staleness: 0"):
        HfBackend().ahead([], Sampling(group=1, max_tokens=1))

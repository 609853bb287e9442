"""What a plan says of a run whose rounds are drawn one step ahead."""

from __future__ import annotations

from typing import Any

import pytest

from grpokit.compose.diagnostics import RecipeProblems
from grpokit.compose.load import load_recipe
from grpokit.compose.plan import make_plan
from grpokit.compose.stale import stale_problems
from grpokit.registry.catalog import Catalog
from grpokit.spec.contracts import Problem
from grpokit.spec.recipe import Recipe

CATALOG = Catalog.load()
HF = "backend: {use: hf, with: {rollouts: vllm, device: cpu}}\n"
TEXT = """\
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
rewards: [{use: number}]
"""


def told(algorithm: dict[str, Any], staleness: int = 1) -> list[Problem]:
    data = {
        "grpokit": 1,
        "model": {"id": "some/model"},
        "dataset": {"use": "arithmetic"},
        "rewards": [{"use": "number"}],
        "algorithm": algorithm,
        "rollout": {"staleness": staleness},
    }
    return stale_problems(Recipe.model_validate(data), CATALOG)


@pytest.mark.parametrize(
    ("algorithm", "levels"),
    [
        ({"use": "grpo"}, ["info", "warning"]),
        ({"use": "dapo"}, ["info", "warning"]),
        ({"use": "cppo"}, ["info", "warning"]),
        ({"use": "grpo", "parts": {"correction": {"use": "no-correction"}}}, ["info", "warning"]),
        ({"use": "grpo", "parts": {"correction": {"use": "truncate"}}}, ["info"]),
        ({"use": "cppo", "parts": {"correction": {"use": "mask-token"}}}, ["info"]),
        ({"use": "prorl-v2"}, ["info"]),  # brings a correction
        ({"use": "unknown"}, ["info"]),
    ],
)
def test_an_algorithm_that_weighs_nothing_is_warned_of(
    algorithm: dict[str, Any], levels: list[str]
) -> None:
    found = told(algorithm)
    assert [problem.level for problem in found] == levels
    assert {problem.code for problem in found} == {"P215"}
    assert told(algorithm, staleness=0) == []


def test_the_remedy_is_one_that_can_be_typed(tmp_path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(TEXT + HF + "rollout: {staleness: 1}\n")
    before = make_plan(load_recipe(str(file), catalog=CATALOG), CATALOG)
    (warning,) = [p for p in before.findings if p.code == "P215" and p.level == "warning"]
    words = warning.remedy.split()
    assert words[0] == "--set"
    after = make_plan(load_recipe(str(file), catalog=CATALOG, overrides=[words[1]]), CATALOG)
    assert [p.level for p in after.findings if p.code == "P215"] == ["info"]


@pytest.mark.parametrize("backend", ["trl", "unsloth"])
def test_other_backends_are_refused_with_a_remedy(tmp_path, backend: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"{TEXT}backend: {{use: {backend}}}\nrollout: {{staleness: 1}}\n")
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(str(file), catalog=CATALOG)
    (problem,) = [each for each in caught.value.diagnostics if each.code == "C510"]
    assert "needs `draws-ahead`" in problem.message
    assert "rollout.staleness: 0" in problem.remedy

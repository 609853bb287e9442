"""Parts that exclude each other: which pairs are refused, and which are fine."""

import pytest

from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.compose.load import load_recipe
from grpokit.errors import RecipeError
from grpokit.registry.catalog import Catalog

GOOD = """
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
rewards: [{use: number}]
"""


def problems(tmp_path, text):
    file = tmp_path / "recipe.yaml"
    file.write_text(GOOD + text, encoding="utf-8")
    try:
        load_recipe(str(file), catalog=Catalog.load())
    except RecipeError as error:
        return " ".join(map(str, error.problems))
    return ""


@pytest.mark.parametrize(
    "algorithm",
    [
        "{parts: {select: {use: drop-zero}}}",
        "{with: {beta: 0.0}, parts: {select: {use: drop-zero}}}",
        "{parts: {select: {use: drop-zero}, regulariser: {use: no-regulariser}}}",
        "{with: {beta: 0.1}, parts: {select: {use: drop-zero}, regulariser: {use: no-regulariser}}}",
        "{use: gspo}",
        "{use: dr-grpo, parts: {aggregation: {use: sequence-mean}, ratio: {use: sequence-ratio}}}",
    ],
)
def test_penalties_of_weight_zero_and_replaced_parts_exclude_nothing(tmp_path, algorithm):
    assert problems(tmp_path, f"algorithm: {algorithm}\n") == ""


@pytest.mark.parametrize(
    ("algorithm", "said"),
    [
        ("{with: {beta: 0.1}, parts: {select: {use: drop-zero}}}", "`drop-zero` and `kl`"),
        (
            "{with: {entropy_coef: 0.1}, parts: {select: {use: drop-zero}}}",
            "`drop-zero` and `entropy-bonus`",
        ),
        (
            "{use: dr-grpo, parts: {ratio: {use: sequence-ratio}}}",
            "`sequence-ratio` and `constant-length` make no sense together",
        ),
    ],
)
def test_the_pair_and_the_reason_are_named(tmp_path, algorithm, said):
    assert said in problems(tmp_path, f"algorithm: {algorithm}\n")


def test_excluded_parts_exist():
    specs = list(grpokit_algorithms())
    names = {spec.name for spec in specs}
    assert all(other in names for spec in specs for other, _ in spec.excludes)

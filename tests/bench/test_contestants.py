"""What `--algorithms` may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit.bench.contestants import DEFAULT, default_contestants, parse_contestants
from grpokit.compose.load import load_recipe
from grpokit.errors import RecipeError
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import AlgorithmSection, Use

OWN = """
grpokit: 1
model: {id: tiny}
dataset: {use: arithmetic}
rewards: [{use: number}]
algorithm:
  use: grpo
  with: {epsilon: 0.1, beta: 0.3}
  parts: {advantage: {use: group-centred}}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def section(item: str, catalog: Catalog, folder: Path) -> AlgorithmSection:
    """The algorithm section that the item leaves in a recipe with one of its own."""
    (folder / "own.yaml").write_text(OWN)
    [found] = parse_contestants(item, catalog)
    path = str(folder / "own.yaml")
    return load_recipe(path, overrides=found.overrides, catalog=catalog).recipe.algorithm


def test_a_name_brings_nothing_of_the_recipe_along(catalog: Catalog, tmp_path: Path) -> None:
    assert section("grpo", catalog, tmp_path) == AlgorithmSection(use="grpo")
    assert section("dr-grpo", catalog, tmp_path) == AlgorithmSection(use="dr-grpo")


def test_settings_and_parts(catalog: Catalog, tmp_path: Path) -> None:
    found = section(
        "grpo:epsilon_high=0.28:beta=0.04:parts.advantage.use=rloo-baseline", catalog, tmp_path
    )
    assert found.use == "grpo"
    assert found.with_ == {"epsilon_high": 0.28, "beta": 0.04}
    assert found.parts == {"advantage": Use(use="rloo-baseline")}


def test_a_recipe_lends_its_section(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    found = section(str(tmp_path / "own.yaml"), catalog, tmp_path)
    assert found.with_ == {"epsilon": 0.1, "beta": 0.3}
    assert found.parts == {"advantage": Use(use="group-centred")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("grpo,gspo,grpo", "grpo is listed twice"),
        ("grpo:epsilon", "'epsilon' is no setting"),
        ("./nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_mistakes(text: str, said: str, catalog: Catalog) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_contestants(text, catalog)
    assert said in str(caught.value) + " ".join(caught.value.problems)


def test_the_default_list_exists(catalog: Catalog) -> None:
    found = parse_contestants(",".join(DEFAULT), catalog)
    names = {catalog.find("algorithm", contestant.label).id for contestant in found}
    assert len(names) >= 8
    assert len({contestant.slug for contestant in found}) == len(found)


def test_of_the_default_list_only_what_is_installed() -> None:
    labels = [each.label for each in default_contestants(Catalog.load({"GRPOKIT_PLUGINS": ""}))]
    assert labels == [name for name in DEFAULT if "/" not in name]
    assert "cppo/cppo" in DEFAULT

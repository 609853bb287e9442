"""Every shipped recipe whose rewards can be tried on this machine passes train's check."""

from __future__ import annotations

import json

import pytest

from grpokit.cli.train_check import ROWS, RewardCheck
from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import make_prompt
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from official_rows import GSM8K, MATH


def names():
    """All but those of reasoning-gym, which takes long to import; its own tests train."""
    catalog = Catalog.load()
    return sorted(
        item.name.rpartition(".")[0] if plugin == "grpokit" else f"{plugin}/{item.name[:-5]}"
        for plugin, folder in catalog.recipe_folders()
        for item in folder.iterdir()
        if item.name.endswith(".yaml") and plugin != "reasoning-gym"
    )


def rows_of(recipe, catalog):
    """Rows of the data set, or such as its official file has them."""
    if "gsm8k" in json.dumps(recipe.dataset.model_dump()):
        return [
            {**row, "answer": row["answer"].rpartition("#### ")[2], "solution": row["answer"]}
            if recipe.dataset.use.startswith("math/")
            else row
            for row in GSM8K
        ]
    if recipe.dataset.use in ("hub", "jsonl") or recipe.dataset.use.startswith("math/"):
        return MATH
    from grpokit.compose.data import open_dataset

    dataset = open_dataset(catalog, recipe.dataset)
    return [dataset[index] for index in range(ROWS)]


@pytest.mark.parametrize("name", names())
def test_train_would_let_it_pass(name, capsys):
    catalog = Catalog.load()
    recipe = load_recipe(name, catalog=catalog).recipe
    check = RewardCheck(recipe, skip=False)
    prompts = [
        make_prompt(recipe.prompt, row, index) for index, row in enumerate(rows_of(recipe, catalog))
    ]
    with Scorer(setups(catalog, recipe.rewards)) as scorer:
        check(scorer, prompts)
    check.settle(name)
    assert check.problem == ""
    assert check.report is not None
    assert check.report.right is not None
    assert check.report.seconds < 11
    assert check.report.criticals == ()

"""The recipes: they load, their prompts and rewards fit each other, and one trains two real steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from commands import Commands
from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import build_messages
from grpokit.registry.catalog import Catalog
from tiny_model import write_tiny_model

DATA = Path(__file__).parents[4] / "shared" / "data"
NAMES = ("gsm8k-qwen", "gsm8k-local", "gsm8k-tags", "math-qwen")
ORIGIN = "prompt math/qwen-boxed (grpokit-math"

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data with the official files is not there"
)


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.mark.parametrize("name", NAMES)
def test_each_uses_the_plugin_throughout(catalog, name):
    recipe = load_recipe(f"math/{name}", catalog=catalog).recipe
    used = [recipe.dataset.use, recipe.prompt.use, *(reward.use for reward in recipe.rewards)]
    assert all(use.startswith("math/") for use in used)
    assert recipe.eval.dataset.with_.get("split", "test") == "test"
    assert recipe.eval.correct in {reward.use.partition("/")[2] for reward in recipe.rewards}


def test_the_folder_holds_no_other(catalog):
    (folder,) = [folder for plugin, folder in catalog.recipe_folders() if plugin == "math"]
    found = {item.name for item in folder.iterdir()}
    assert found == {f"{name}.yaml" for name in NAMES}


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    pytest.importorskip("grpokit_hf")
    folder = tmp_path_factory.mktemp("math-recipes")
    write_tiny_model(folder / "tiny")
    with Commands(folder) as found:
        yield found


@needs_data
def test_two_real_steps_from_local_files(commands):
    out = commands.folder / "runs"
    values = {
        "model.id": "tiny",
        "dataset.with.path": str(DATA / "gsm8k"),
        "dataset.limit": "40",
        "eval.dataset.with.path": str(DATA / "gsm8k"),
        "eval.limit": "2",
        "eval.max_tokens": "4",
        "rollout": "{prompts: 2, group: 4, max_tokens: 8}",
        "backend.with": "{threads: 1, device: cpu}",
        "train.out": str(out),
    }
    changes = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    status = commands.run("train", "math/gsm8k-local", *changes, "--steps", "2")
    assert status == 0, commands.output
    (run,) = out.iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "reward" in line]
    assert [line["failures"] for line in steps] == [0, 0]
    assert [line["rewards/accuracy/mean"] for line in steps] == [0.0, 0.0]
    recorded = yaml.safe_load((run / "recipe.yaml").read_text())
    template = (
        "{question}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
    )
    assert recorded["prompt"]["use"] == "math/qwen-boxed"
    assert recorded["prompt"]["template"] == template
    rows = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    for row in rows:
        asked = row["prompt"]["messages"][-1]["content"]
        assert asked.endswith("within \\boxed{}.")
    plan = json.loads((run / "plan.json").read_text())
    assert "math/qwen-boxed" in [part["id"] for part in plan["components"]]
    status = commands.run("eval", str(run), "--limit", "2")
    assert status == 0, commands.output


def test_the_prompt_of_the_recipe_has_an_origin(catalog):
    loaded = load_recipe("math/gsm8k-qwen", catalog=catalog)
    assert loaded.provenance["prompt.template"].startswith(ORIGIN)
    (message,) = build_messages(loaded.recipe.prompt, {"question": "1 + 1?"})
    assert message["content"].startswith("1 + 1?\nPlease reason step by step")

"""``grpokit train RECIPE --smoke`` passes for every recipe of the repository and its plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import Commands
from grpokit.compose.load import load_recipe
from grpokit.registry.catalog import Catalog
from official_rows import official_folder, overrides

MODULES = ("grpokit.smoke", "grpokit.export.weights", "grpokit_hf.export.weights")
STAGES = ["recipe", "plan", "train", "checkpoint", "resume", "evaluate", "export"]


def names() -> list[str]:
    return sorted(
        item.name.removesuffix(".yaml")
        if plugin == "grpokit"
        else f"{plugin}/{item.name.removesuffix('.yaml')}"
        for plugin, folder in Catalog.load().recipe_folders()
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    )


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("smoke")
    for name in ("gsm8k", "math"):
        official_folder(folder, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder / "hub"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TMPDIR", str(folder / "tmp"))
        (folder / "tmp").mkdir()
        with Commands(folder, *MODULES) as found:
            yield found


def test_all_shipped_recipes_are_known() -> None:
    shipped = [
        path
        for path in Path(__file__).parents[2].glob("**/recipes/*.yaml")
        if "site-packages" not in path.parts
    ]
    assert len(names()) == len(shipped) > 15


@pytest.mark.parametrize("name", names())
def test_passes(commands: Commands, name: str) -> None:
    recipe = load_recipe(name, catalog=Catalog.load()).recipe
    given = overrides("dataset", recipe.dataset, commands.folder)
    given += overrides("eval.dataset", recipe.eval.dataset, commands.folder)
    code = commands.run("train", name, "--smoke", *given)
    assert code == 0, commands.output
    assert re.findall(r"^✓ (\w+)", commands.output, re.MULTILINE) == STAGES
    assert "the same weights, bit for bit" in commands.output
    norms = re.search(r"gradients ([\d.e+-]+) and ([\d.e+-]+)", commands.output)
    assert norms is not None
    assert all(float(norm) > 0 for norm in norms.groups())
    assert list((commands.folder / "tmp").glob("grpokit-smoke-*")) == []

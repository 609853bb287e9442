"""A package of each kind: passes its check, and its wheel installs, passes the tests and trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from grpokit.scaffold.write import KINDS

ROOT_FILES = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore"}
USED = {
    "reward": lambda recipe: recipe["rewards"][1]["use"],
    "dataset": lambda recipe: recipe["dataset"]["use"],
    "algorithm": lambda recipe: recipe["algorithm"]["use"],
    "backend": lambda recipe: recipe["backend"]["use"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package(kind: str, fresh: Any, tmp_path: Path) -> None:
    name = f"new-{kind}"
    fresh.ok(f"grpokit plugins new {kind} {name}", tmp_path)
    folder = tmp_path / f"grpokit-{name}"
    report = json.loads(fresh.ok("grpokit plugins check . --strict --json", folder))
    names = ("wheel", "loaded", "components", "cases", "recipes", "imports", "metadata")
    expected = dict.fromkeys(names, "ok")
    if kind != "reward":
        expected["cases"] = "skipped"
    if kind == "recipe":
        expected["components"] = "skipped"
    assert {check["name"]: check["state"] for check in report["checks"]} == expected
    left = {path.name for path in folder.iterdir()}
    assert left == {*ROOT_FILES, "src", "tests", ".github"}

    # From here on the source is gone: what is tested and what trains is the wheel.
    fresh.ok(f"pip wheel --quiet --no-deps --wheel-dir dist {folder}", tmp_path)
    (folder / "src").rename(tmp_path / "moved")
    fresh.ok("pip install --quiet dist/*.whl", tmp_path)
    fresh.ok("pytest -q -p no:cacheprovider", folder)
    fresh.ok(f"grpokit train {name}/smoke --plain", tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert sum(row.get("grad_norm", 0.0) for row in rows) > 0, "nothing was learned"
    if kind in USED:
        assert USED[kind](yaml.safe_load((run / "recipe.yaml").read_text())) == f"{name}/{name}"

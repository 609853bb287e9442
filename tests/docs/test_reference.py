"""The generated reference is what the code says, and leaves nothing out."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from doc_pages import ROOT
from grpokit.compose.diagnostics import CODES
from grpokit.compose.plan import PLAN_CODES
from grpokit.compose.rules import RULES
from grpokit.diagnose.findings import FINDINGS
from grpokit.engine.metrics import METRICS
from grpokit.errors import ExitCode
from grpokit.hooks import HOOK_NAMES
from grpokit.registry.catalog import Catalog
from grpokit.registry.settings import describe
from grpokit.spec.capabilities import CAPABILITIES
from grpokit.spec.recipe import Recipe

REFERENCE = ROOT / "docs/reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def test_every_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}write them with `make docs`"


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("hooks.md", [f"`{name}(" for name in HOOK_NAMES] + [f"`{name}`" for name in CAPABILITIES]),
        ("metrics.md", [f"`{name}`" for name in METRICS]),
        ("exit-codes.md", [f"| {code.value} |" for code in ExitCode]),
        ("diagnostics.md", [f"| {code} |" for code in (*CODES, *PLAN_CODES)]),
        ("diagnostics.md", [f"| {rule.id} |" for rule in RULES]),
        ("diagnostics.md", [f"| `{name}` |" for name in FINDINGS]),
        (
            "recipe.md",
            [f"`{item.name.rpartition('.')[2]}`" for item in describe(Recipe)],
        ),
    ],
)
def test_nothing_is_left_out(name: str, names: list[str]) -> None:
    text = page(name)
    assert names
    assert [each for each in names if each not in text] == []


def test_every_recipe_field_has_a_sentence() -> None:
    assert [item.name for item in describe(Recipe) if not item.doc] == []


def test_every_component_of_ours() -> None:
    text = page("components.md")
    ours = [
        entry.id
        for entry in Catalog.load({"GRPOKIT_PLUGINS": "hf,trl,unsloth,cppo,math"}).entries()
    ]
    assert "grpo" in ours
    assert "hf/hf" in ours
    assert "cppo/prune" in ours
    assert [name for name in ours if f"`{name}`" not in text] == []


@pytest.mark.parametrize(("plugin", "letters"), [("hf", "HF"), ("trl", "TRL"), ("unsloth", "US")])
def test_every_code_of_a_backend(plugin: str, letters: str) -> None:
    import re

    folder = ROOT / f"plugins/grpokit-{plugin}/src"
    source = "".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    codes = set(re.findall(rf'"({letters}\d{{3}})"', source))
    assert codes
    assert [code for code in codes if f"| {code} |" not in page("diagnostics.md")] == []


def test_names_of_changelog_fragments() -> None:
    """``topic.type.md`` with one sentence or more; the types stand in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    types = project["tool"]["grpokit"]["changes"]["types"]
    fragments = sorted((ROOT / "docs/changes").iterdir())
    assert fragments
    for path in fragments:
        topic, kind, suffix = path.name.split(".")
        assert topic.replace("-", "").isalnum(), path.name
        assert kind in types, f"{path.name}: {kind} is none of {types}"
        assert suffix == "md", path.name
        assert path.read_text("utf-8").strip().endswith("."), f"{path.name} is no sentence"

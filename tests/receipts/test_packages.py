"""Recipes of installed distributions: named, extended across packages, and carried with receipts."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dists import grpokit, install
from grpokit.cli.main import main
from grpokit.receipts.model import Receipt, dump
from receipt_runs import RECIPE

ROOT = Path(__file__).parents[2]
PACKAGES = ("grpokit_first", "grpokit_second", "grpokit_third")
HOOKS = """
from importlib.resources import files
from grpokit.api import hookimpl

@hookimpl
def grpokit_recipes():
    return [files(__package__) / "recipes"]
"""
SMALL = """\
grpokit: 1
summary: Sums in one package.
extends: quickstart
rollout: {prompts: 4, group: 4}
train: {steps: 9}
"""

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, receipt: Receipt) -> Iterator[Path]:
    """Three distributions: a recipe of the second extends one of the first, the third has a receipt."""
    folder = tmp_path_factory.mktemp("site")
    files = {"recipes/small.yaml": SMALL, "recipes/round.yaml": "extends: second/round\n"}
    install(folder, "grpokit-first", HOOKS, files=files)
    files = {
        "recipes/smaller.yaml": "extends: first/small\nsummary: Smaller.\ntrain: {steps: 8}\n",
        "recipes/round.yaml": "extends: first/round\n",
        "recipes/gone.yaml": "extends: fourth/small\n",
        "recipes/newer.yaml": "grpokit: 2\nextends: first/small\n",
        "recipes/worse.yaml": "extends: first/small\nrollout: {prompts: none}\n",
    }
    install(folder, "grpokit-second", HOOKS, files=files)
    files = {"recipes/sums.yaml": RECIPE, "recipes/sums.receipt.json": dump(receipt)}
    install(folder, "grpokit-third", HOOKS, files=files)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder
    for name in [name for name in sys.modules if name.startswith(PACKAGES)]:
        del sys.modules[name]


@pytest.fixture
def run(
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str]:
        code = main(["recipes", *argv])
        return code, "".join(capsys.readouterr())

    return call


def test_they_are_listed_by_plugin_and_name(run: Run) -> None:
    code, out = run("list", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["recipes"]}
    assert rows["first/small"]["summary"] == "Sums in one package."
    assert rows["first/small"]["plugin"] == "first"
    assert rows["second/smaller"]["summary"] == "Smaller."


def test_one_package_extends_another_and_a_user_both(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: second/smaller\nrollout: {group: 8}\n")
    code, out = run("show", "mine.yaml", "--resolved")
    assert code == 0
    lines = {line.split("#")[0].strip(): line.partition("# ")[2] for line in out.splitlines()}
    assert lines["group: 8"] == "mine.yaml:2:18"
    assert lines["steps: 8"].endswith("smaller.yaml:3:16")
    assert lines["prompts: 4"].endswith("small.yaml:4:20")
    assert lines["rank: 8"].endswith("quickstart.yaml:8:16")
    assert run("check", "mine.yaml", "first/small") == (0, "mine.yaml: ok\nfirst/small: ok\n")


def test_what_cannot_be_extended(run: Run) -> None:
    names = ("gone", "round", "newer", "worse")
    code, out = run("check", *(f"second/{name}" for name in names), "first/round")
    assert code == 2
    for told in (
        "gone.yaml:1:10: X302 there is no recipe named `fourth/small`",
        "X303 the recipes extend each other in a circle: round.yaml -> ",
        "newer.yaml:1:10: K412 ",
        "worse.yaml:2:20: K404 ",
    ):
        assert told in out
    assert out.count("X303") == 2
    assert "Traceback" not in out


def test_a_plugin_that_is_not_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("extends: first/small\n")
    monkeypatch.setenv("GRPOKIT_DISABLE", "first")
    code, out = run("check", "mine.yaml")
    assert code == 2
    assert "mine.yaml:1:10: X302 there is no recipe named `first/small`" in out
    assert "the plugin 'first' is blocked: GRPOKIT_DISABLE names it" in out


def test_a_package_s_receipt(run: Run) -> None:
    code, out = run("verify", "third")
    assert code == 0, out
    assert "third/sums: the receipt holds" in out
    code, out = run("list", "--json")
    rows = {row["name"]: row["receipt"] for row in json.loads(out)["recipes"]}
    assert rows["third/sums"] == "88.9% (+77.8)"
    assert "third/sums.receipt" not in rows
    assert rows["first/small"] is None  # what it extends has one, of another recipe


def test_our_own_wheels_carry_them(tmp_path: Path) -> None:
    """The plugin's wheel, unpacked where it is imported from; grpokit's own, looked into."""
    wheels = tmp_path / "wheels"
    for project in (ROOT / "plugins" / "grpokit-example-reward", ROOT):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=60)
    (core,) = wheels.glob("grpokit-*.whl")
    with zipfile.ZipFile(core) as archive:
        assert "grpokit/recipes/quickstart.receipt.json" in archive.namelist()
    (plugin,) = wheels.glob("grpokit_example_reward-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(plugin) as archive:
        archive.extractall(site)
    done = grpokit("recipes", "list", "--json", path=site)
    rows = {row["name"]: row for row in json.loads(done.stdout)["recipes"]}
    row = rows["example-reward/smoke"]
    assert str(site) in row["file"]
    assert row["receipt"]
    done = grpokit("recipes", "verify", "example-reward", path=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "example-reward/smoke: the receipt holds" in done.stdout

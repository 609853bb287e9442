"""The run directory, its lock, and what a resume may change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grpokit.engine.rundir import RunDir, changed_keys, named_run
from grpokit.errors import CheckpointError, RecipeError
from grpokit.spec.recipe import Recipe


def recipe(**sections: Any) -> Recipe:
    base: dict[str, Any] = {
        "grpokit": 1,
        "model": {"id": "tiny"},
        "dataset": {"use": "arithmetic"},
        "rewards": [{"use": "number"}],
    }
    return Recipe.model_validate({**base, **sections})


def test_a_run_keeps_its_recipe(tmp_path: Path) -> None:
    asked = recipe(optim={"lr": 1e-6, "betas": (0.9, 0.95)}, model={"id": "no", "lora": None})
    run = RunDir.create(tmp_path, "my run/..", asked, {"components": []})
    assert run.recipe() == asked
    assert run.path.parent == tmp_path
    assert run.path.name.startswith("my-run-")
    assert RunDir.existing(run.path).plan() == {"components": []}


def test_runs_of_the_same_second_get_different_names(tmp_path: Path) -> None:
    names = {RunDir.create(tmp_path, "a", recipe(), {}).path.name for _ in range(5)}
    assert len(names) == 5


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not a run"):
        RunDir.existing(tmp_path)


def test_a_place_where_no_run_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file: a run cannot be made there.*train\.out"):
        RunDir.create(tmp_path / "file", "a", recipe(), {})


@pytest.mark.parametrize("text", ["a: [", "grpokit: 9\nnew: 1\n", "{when: 2026-01-31}", "\0", ""])
def test_a_recipe_of_a_run_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    run = RunDir.create(tmp_path, "a", recipe(), {})
    (run.path / "recipe.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"recipe\.yaml: cannot be read"):
        run.recipe()


@pytest.mark.parametrize("text", ["", "[1]", "{", "3"])
def test_a_plan_of_a_run_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    run = RunDir.create(tmp_path, "a", recipe(), {})
    (run.path / "plan.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"plan\.json: cannot be read"):
        run.plan()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "a", recipe(), {})
    (run.path / ".tmp-final-1").mkdir()
    (run.path / ".tmp-final-1" / "weights").write_text("half")
    (run.path / ".tmp-recipe.yaml-1").write_text("half")
    with run:
        assert sorted(path.name for path in run.path.iterdir()) == [
            ".lock",
            "plan.json",
            "recipe.yaml",
        ]


def test_last_is_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="no run in runs/"):
        named_run("last")
    made = [RunDir.create(Path("runs"), name, recipe(), {}).path for name in ("b", "c", "a")]
    assert named_run("last") == made[-1]
    assert named_run("runs/x") == Path("runs/x")


def test_two_processes_cannot_train_in_one_run(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "a", recipe(), {})
    code = (
        "import sys, pathlib; from grpokit.engine.rundir import RunDir\n"
        f"with RunDir.existing(pathlib.Path({str(run.path)!r})):\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(CheckpointError, match=f"pid {child.pid}"), run:
            pass
        child.kill()  # a lock does not outlive its process
        child.wait()
    with run:
        pass


def test_what_a_resume_may_change() -> None:
    old = recipe()
    assert changed_keys(old, recipe(train={"steps": 900, "save_every": 1})) == {}
    assert changed_keys(old, recipe(eval={"limit": 3})) == {}
    changed = changed_keys(old, recipe(optim={"lr": 0.1}, rollout={"group": 4}))
    assert changed == {"optim.lr": (None, 0.1), "rollout.group": (8, 4)}
    assert list(changed_keys(old, recipe(rewards=[{"use": "exact"}]))) == ["rewards"]
    assert list(changed_keys(old, recipe(train={"seed": 1}))) == ["train.seed"]


def test_the_saved_recipe_reads_back_the_same_through_the_strict_loader(tmp_path):
    """Text that YAML 1.1 or 1.2 takes for a number or a boolean must stay text."""
    from grpokit.compose.load import load_recipe
    from grpokit.registry.catalog import Catalog

    recipe = Recipe.model_validate(
        {
            "grpokit": 1,
            "summary": "1e-6",
            "model": {"id": "0o17", "revision": "012"},
            "dataset": {"use": "inline", "with": {"rows": [{"question": "no", "answer": "1_000"}]}},
            "prompt": {"template": "{question}\n\tyes: \\boxed{{}} # é"},
            "rewards": [{"use": "exact"}],
            "optim": {"lr": 1e-6},
        }
    )
    run = RunDir.create(tmp_path, "strict", recipe, {})
    assert run.recipe() == recipe
    loaded = load_recipe(str(run.path / "recipe.yaml"), catalog=Catalog.load())
    assert loaded.recipe == recipe

"""Runs, checkpoints and models as targets of `grpokit eval`."""

import json
import shutil
from pathlib import Path

import pytest

from grpokit.cli.eval_target import find_subjects
from grpokit.engine.checkpoint import CheckpointStore, write_manifest
from grpokit.engine.rundir import RunDir
from grpokit.errors import CheckpointError, RecipeError
from grpokit.spec.recipe import Recipe


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of steps 2, 4 and 6; step 4 is the best."""
    folder = tmp_path / "runs" / "toy-1"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("grpokit: 1\n")
    (folder / "plan.json").write_text("{}")
    store = CheckpointStore(folder / "checkpoints", keep=9)
    for step in (2, 4, 6):
        store.save(step, fill, {"step": step, "best_step": 4})
    return folder


def fill(folder):
    (folder / "policy").mkdir()
    (folder / "policy" / "adapter_config.json").write_text("{}")


def finish(run):
    (run / "final").mkdir()
    (run / "final" / "adapter_config.json").write_text("{}")
    write_manifest(run / "final", 6)


def test_a_run_means_its_final_policy_or_its_newest_checkpoint(run):
    [subject], source, folder = find_subjects(str(run))
    assert subject.folder == run / "checkpoints" / "step-000006"
    assert (source, folder) == (str(run / "recipe.yaml"), run / "eval")
    finish(run)
    [subject], _, _ = find_subjects(str(run))
    assert (subject.folder, subject.label) == (run / "final", "trained")


@pytest.mark.parametrize(("asked", "step"), [("2", 2), ("000004", 4), ("best", 4), ("newest", 6)])
def test_checkpoints_by_step_and_by_name(run, asked, step):
    [subject], _, _ = find_subjects(str(run), checkpoint=asked)
    assert subject.folder.name == subject.label == f"step-{step:06d}"


def test_base_comes_first_and_has_no_folder(run):
    (base, trained), _, _ = find_subjects(str(run), base=True)
    assert (base.label, base.folder, base.model) == ("base", None, None)
    assert trained.folder is not None


def test_a_checkpoint_folder_brings_the_recipe_of_its_run(run):
    for inner in ("", "policy"):
        target = run / "checkpoints" / "step-000002" / inner
        [subject], source, _ = find_subjects(str(target))
        assert subject.folder == run / "checkpoints" / "step-000002"
        assert source == str(run / "recipe.yaml")


def test_a_checkpoint_of_a_checkpoint_is_refused(run):
    with pytest.raises(RecipeError, match="is a checkpoint already") as caught:
        find_subjects(str(run / "checkpoints" / "step-000002"), checkpoint="6")
    assert str(run) in caught.value.remedy


def test_a_model_needs_a_recipe(run, tmp_path):
    (tmp_path / "model").mkdir()
    [subject], source, folder = find_subjects(str(tmp_path / "model"), recipe="quickstart")
    assert (subject.label, subject.model, subject.folder) == (
        "model",
        str(tmp_path / "model"),
        None,
    )
    assert (source, folder) == ("quickstart", None)
    with pytest.raises(RecipeError, match="brings no questions") as caught:
        find_subjects("some/model")
    assert "--recipe" in caught.value.remedy


def test_another_model_to_compare_with(run):
    (other, trained), source, _ = find_subjects(str(run), against="org/other")
    assert (other.label, other.model) == ("other", "org/other")
    assert trained.label == "step-000006"
    assert source.endswith("recipe.yaml")
    (first, second), _, _ = find_subjects(str(run), against=str(run))
    assert first.label != second.label


def test_questions_of_another_recipe_leave_the_run_its_own_model(tmp_path):
    """An adapter on another base of the same shape would load, and measure nonsense."""
    recipes = [
        Recipe.model_validate(
            {
                "grpokit": 1,
                "model": {"id": f"org/{name}", "dtype": "float32"},
                "dataset": {"use": "arithmetic"},
                "rewards": [{"use": "number"}],
            }
        )
        for name in ("one", "two", "questions")
    ]
    runs = []
    for recipe in recipes[:2]:
        run = RunDir.create(tmp_path, recipe.model.id, recipe, {})
        CheckpointStore(run.checkpoints, keep=9).save(2, fill, {"step": 2})
        runs.append(str(run.path))

    def models(*found):
        return [subject.recipe_for(recipes[2]).model.id for subject in found[0]]

    assert models(*find_subjects(runs[0], recipe="q")) == ["org/one"]
    assert models(*find_subjects(runs[0], recipe="q", base=True)) == ["org/one"] * 2
    assert models(*find_subjects(runs[0], recipe="q", against=runs[1])) == ["org/two", "org/one"]
    assert models(*find_subjects(runs[0], recipe="q", against="x/y")) == ["x/y", "org/one"]
    [other, own], source, _ = find_subjects(runs[0], against=runs[1])
    assert other.recipe_for(recipes[0]).model.id == "org/two"
    assert (own.home, source) == (None, str(Path(runs[0]) / "recipe.yaml"))  # --set holds


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_checkpoint_is_refused(run, damage):
    file = run / "checkpoints" / "step-000006" / "policy" / "adapter_config.json"
    if damage == "change":
        file.write_text('{"r": 1}')
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match="damaged") as caught:
        find_subjects(str(run))
    assert caught.value.exit_code == 6
    assert find_subjects(str(run), checkpoint="4")


def test_mistakes_are_told(run, tmp_path):
    with pytest.raises(CheckpointError, match="there are 2, 4, 6"):
        find_subjects(str(run), checkpoint="3")
    with pytest.raises(CheckpointError, match="not complete"):
        find_subjects(str(run), checkpoint="final")
    with pytest.raises(RecipeError, match="is no checkpoint"):
        find_subjects(str(run), checkpoint="last")
    with pytest.raises(RecipeError, match="exclude"):
        find_subjects(str(run), base=True, against="x")
    with pytest.raises(RecipeError, match="base model is not known"):
        find_subjects("org/x", recipe="r", base=True)
    with pytest.raises(RecipeError, match="no checkpoints"):
        find_subjects("org/x", recipe="r", checkpoint="2")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "recipe.yaml").write_text("")
    (empty / "plan.json").write_text("")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_subjects(str(empty))


def test_no_best_yet(run):
    newest = run / "checkpoints" / "step-000006"
    (newest / "run.json").write_text(json.dumps({"best_step": None}))
    with pytest.raises(CheckpointError, match="the best yet"):
        find_subjects(str(run), checkpoint="best")
    (newest / "run.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read"):
        find_subjects(str(run), checkpoint="best")


def test_all_checkpoints_and_the_final_policy_where_it_is_none_of_them(run):
    def labels(**options):
        return [subject.label for subject in find_subjects(str(run), **options)[0]]

    steps = ["step-000002", "step-000004", "step-000006"]
    assert labels(checkpoint="all") == steps
    finish(run)
    assert labels(checkpoint=["all"]) == steps  # the final policy is that of step 6
    (run / "final" / "MANIFEST.json").unlink()
    write_manifest(run / "final", 8)
    assert labels(checkpoint=["all"], base=True) == ["base", *steps, "trained"]
    assert labels(checkpoint=["6", "2"]) == ["step-000006", "step-000002"]


def test_several_targets_have_names_of_their_own(run, tmp_path):
    finish(run)
    other = run.with_name("toy-2")
    shutil.copytree(run, other)
    targets = [str(run), str(other), "org/m", "openai:m", str(run)]
    subjects, source, folder = find_subjects(targets, endpoint={"base_url": "u"})
    assert [subject.label for subject in subjects] == [
        "trained (toy-1)",
        "trained (toy-2)",
        "m",
        "m (endpoint)",
        "trained (toy-1) (2)",
    ]
    assert (source, folder) == (str(run / "recipe.yaml"), None)  # it is of none of them alone
    assert find_subjects([str(run)], against=str(other))[2] == run / "eval"
    assert subjects[1].home == other  # its own base model, not that of the first
    made = subjects[3].recipe_for(
        Recipe.model_validate(
            {
                "grpokit": 1,
                "model": {"id": "x"},
                "dataset": {"use": "arithmetic"},
                "rewards": [{"use": "number"}],
            }
        )
    )
    assert (made.backend.use, made.backend.with_, made.model.id) == (
        "openai",
        {"base_url": "u"},
        "m",
    )

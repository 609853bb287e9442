"""What every export does: refusals, the nearest with --force, the folder, the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from exported import CATALOG, ROOT, SMALL, algorithm, recipe, trl_settings, verl_overrides
from grpokit.cli.main import main
from grpokit.compose.data import open_dataset
from grpokit.compose.load import load_recipe
from grpokit.errors import ExitCode, PreflightError
from grpokit.export import axolotl
from grpokit.export.folder import export_recipe
from grpokit.interop.rows import unpack
from grpokit.registry.catalog import Catalog

GROUP_REWARD = """
from grpokit.api import reward

@reward(form="group")
def shortest(completions, finish):
    return [float(len(each) == min(map(len, completions))) for each in completions]

def judged(completion, answer, tokens):
    return 1.0
"""


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("target", ["trl", "verl", "axolotl"])
def test_cppo_is_refused_and_forced(tmp_path, target):
    loaded = algorithm(tmp_path, "cppo/cppo", rate=0.5)
    out = tmp_path / "out"
    with pytest.raises(PreflightError, match="--force writes the nearest") as caught:
        export_recipe(loaded, CATALOG, target=target, folder=out)
    assert any("cppo/prune" in problem for problem in caught.value.problems)
    assert not out.exists()
    done = export_recipe(loaded, CATALOG, target=target, folder=out, rows=3, force=True)
    assert any(note.kind == "missing" for note in done.notes)
    readme = (out / "README.md").read_text()
    assert "cannot do" in readme
    assert "cppo/prune" in readme
    assert readme.index("cannot do") < readme.index("different there")


def test_the_page_says_which_algorithms_go_where(tmp_path):
    page = (ROOT / "docs/howto-export.md").read_text()
    table = page.partition("| algorithm | TRL | verl | axolotl |")[2].partition("\n\n")[0]
    said, others = {}, None
    for line in table.splitlines()[2:]:
        names, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        verdict = tuple(not cell.startswith("no") for cell in cells)
        if names.startswith("any other"):
            others = verdict
        else:
            said |= dict.fromkeys(re.findall(r"`([^`]+)`", names), verdict)
    assert others == (False, False, False)
    for entry in CATALOG.entries("algorithm"):
        if entry.spec.axis:
            continue
        loaded = algorithm(tmp_path, entry.id)
        settings, notes = trl_settings(loaded)
        trl = not notes.lacking
        axolotl.lacking(settings, notes)
        goes = (trl, not verl_overrides(loaded)[1].lacking, not notes.lacking)
        assert goes == said.get(entry.id, others), entry.id


def test_a_refusal_needs_no_data(tmp_path):
    """The data set is not here; the refusal comes first."""
    loaded = load_recipe("gsm8k-qwen-cppo", catalog=CATALOG)
    with pytest.raises(PreflightError, match="cannot express"):
        export_recipe(loaded, CATALOG, target="verl", folder=tmp_path / "out")


def test_the_exported_recipe_is_the_same_run(tmp_path):
    loaded = recipe(tmp_path)
    export_recipe(loaded, CATALOG, target="trl", folder=tmp_path / "out", rows=3)
    again = load_recipe(str(tmp_path / "out" / "recipe.yaml"), catalog=CATALOG)
    assert again.settings == loaded.settings
    assert again.recipe.rollout == loaded.recipe.rollout
    assert again.recipe.optim == loaded.recipe.optim


def test_the_exported_recipe_finds_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"question": "1 + 1?", "gold": "2"}\n' * 3)
    data = {"use": "jsonl", "with": {"path": "rows.jsonl"}, "columns": {"answer": "gold"}}
    loaded = recipe(tmp_path, dataset=data, eval={"dataset": data})
    export_recipe(loaded, CATALOG, target="trl", folder=tmp_path / "out")
    assert json.loads((tmp_path / "out/train.jsonl").read_text().splitlines()[0])["answer"] == "2"
    monkeypatch.chdir(tmp_path / "out")
    again = load_recipe("./recipe.yaml", catalog=CATALOG).recipe
    for section in (again.dataset, again.eval.dataset):
        assert open_dataset(CATALOG, section)[2]["answer"] == "2"
    assert loaded.recipe.dataset.with_["path"] == "rows.jsonl"


def test_half_a_character_is_named(tmp_path):
    rows = tmp_path / "rows.jsonl"
    row = '{"question": "1 + 1?", "answer": "2", "note": "x%s"}\n'
    rows.write_text(row % "" * 2 + row % "\\ud800")
    loaded = recipe(tmp_path, dataset={"use": "jsonl", "with": {"path": str(rows)}})
    with pytest.raises(PreflightError, match=r"data set row 2: it holds .*half a character"):
        export_recipe(loaded, CATALOG, target="verl", folder=tmp_path / "out")


@pytest.mark.parametrize("target", ["trl", "verl", "axolotl"])
def test_odd_names_are_names_of_functions(tmp_path, target):
    given = ["class", "2nd.one-x", "2nd-one.x", "functions", "REWARDS", "number"]
    loaded = recipe(
        tmp_path,
        "Rewards" if target == "verl" else "odd näme's",
        rewards=[{"use": "number", "name": name} for name in given],
        summary='a """ summary\nof two lines',
    )
    out = tmp_path / "out"
    export_recipe(loaded, CATALOG, target=target, folder=out, rows=3)
    names = ["class_", "_2nd_one_x", "_2nd_one_x_", "functions_", "REWARDS_", "number"]
    shown = "print(f.Rewards_.__name__)" if target == "verl" else (
        f"print([getattr(f, n).__name__ for n in {names}] == {given} == list(f.REWARDS.names))"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", f"import grpokit_rewards as f\n{shown}"],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == ("Rewards_" if target == "verl" else "True"), done.stderr
    if target == "axolotl":
        funcs = yaml.safe_load((out / "axolotl.yaml").read_text())["trl"]["reward_funcs"]
        assert funcs == [f"grpokit_rewards.{name}" for name in names]
    if target == "verl":
        assert "custom_reward_function.name=Rewards_" in (out / "train.sh").read_text()


@pytest.mark.parametrize("target", ["trl", "verl"])
def test_the_rewards_keep_their_limits(tmp_path, target):
    limits = {"timeout": 3.5, "max_error_rate": 0.25, "isolate": False, "memory": 2.5}
    loaded = recipe(tmp_path, scoring=limits)
    out = tmp_path / "out"
    export_recipe(loaded, CATALOG, target=target, folder=out, rows=3)
    found: dict[str, Any] = {}
    exec((out / "grpokit_rewards.py").read_text(), found)
    assert {name: getattr(found["REWARDS"], name) for name in limits} == limits


def test_a_folder_in_use_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(PreflightError, match="not empty"):
        export_recipe(recipe(tmp_path), CATALOG, target="trl", folder=out, rows=3)
    assert files(out) == ["mine"]


@pytest.mark.parametrize("out", [".", "file", "file/below"])
def test_places_that_are_none(tmp_path, monkeypatch, capsys, out):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    recipe(tmp_path)
    if out != ".":
        (here / "file").write_text("mine")
    argv = ["export", "recipe", "../small.yaml", "--to", "trl", "--out", out]
    assert main(argv) == ExitCode.PREFLIGHT
    assert "--out" in capsys.readouterr().err
    assert files(here) == ([] if out == "." else ["file"])


def test_what_a_killed_export_left_goes_and_a_running_one_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, other = tmp_path / f".tmp-out-{ended.pid}", tmp_path / ".tmp-out-1"
    mine = tmp_path / f".tmp-other-out-{ended.pid}"
    for path in (left, other, mine):
        path.mkdir()
    export_recipe(recipe(tmp_path), CATALOG, target="trl", folder=tmp_path / "out", rows=3)
    assert [path.exists() for path in (left, other, mine)] == [False, True, True]


@pytest.mark.parametrize("target", ["trl", "verl", "axolotl"])
def test_fewer_questions_than_a_step_asks_are_refused(tmp_path, target):
    """TRL's and verl's loaders drop a step that is not full: they would save an untrained model."""
    out = tmp_path / "out"
    with pytest.raises(PreflightError, match="--rows 3 or more"):
        export_recipe(recipe(tmp_path), CATALOG, target=target, folder=out, rows=2)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "1 + 1?", "answer": "2"}\n' * 2)
    loaded = recipe(tmp_path, dataset={"use": "jsonl", "with": {"path": str(rows)}})
    with pytest.raises(PreflightError, match=r"rollout\.prompts=2"):
        export_recipe(loaded, CATALOG, target=target, folder=out)
    assert not out.exists()


def test_columns_that_mean_something_to_trl_reach_the_rewards_alone(tmp_path):
    rows = tmp_path / "rows.jsonl"
    row = {"question": "1 + 1?", "answer": "2", "image": "a.png", "images": "b", "prompt": "p"}
    rows.write_text("".join(json.dumps({**row, "k": k}) + "\n" for k in range(3)))
    loaded = recipe(tmp_path, dataset={"use": "jsonl", "with": {"path": str(rows)}})
    export_recipe(loaded, CATALOG, target="trl", folder=tmp_path / "out")
    written = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()]
    assert {"image", "images"}.isdisjoint(written[1])
    assert unpack({k: v for k, v in written[1].items() if k != "prompt"}) == {**row, "k": 1}


def test_an_endless_data_set_gives_as_many_rows_as_the_run_asks(tmp_path):
    loaded = recipe(
        tmp_path,
        dataset={
            "use": "arithmetic",
            "with": {"split": "train", "operands": [[0, 999999], [0, 999999]]},
        },
    )
    done = export_recipe(loaded, CATALOG, target="trl", folder=tmp_path / "out")
    assert len((tmp_path / "out/train.jsonl").read_text().splitlines()) == 6
    assert any(note.text == "the first 6 rows were written" for note in done.notes)


def test_sizes_that_do_not_divide_are_named(tmp_path):
    loaded = recipe(
        tmp_path,
        rollout={"prompts": 3, "group": 5, "max_tokens": 8},
        optim={"minibatches": 4},
    )
    done = export_recipe(loaded, CATALOG, target="verl", folder=tmp_path / "out", rows=3)
    (note,) = (note for note in done.notes if note.key == "optim.minibatches")
    assert "it is 3" in note.text
    assert "ppo_mini_batch_size=1" in (tmp_path / "out/train.sh").read_text()


def test_rewards_that_need_what_verl_does_not_tell(tmp_path, monkeypatch):
    from dists import install

    hooks = """
    from grpokit.api import RewardSpec, hookimpl

    @hookimpl
    def grpokit_rewards():
        return [
            RewardSpec(name="shortest", summary="A reward.", target="grpokit_groups.rewards:shortest"),
            RewardSpec(name="judged", summary="A reward.", target="grpokit_groups.rewards:judged"),
        ]
    """
    install(tmp_path, "grpokit-groups", hooks, files={"rewards.py": GROUP_REWARD})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.load()
    path = tmp_path / "groups.yaml"
    rewards = [{"use": "shortest"}, {"use": "judged"}]
    path.write_text(yaml.safe_dump({**SMALL, "rewards": rewards}))
    loaded = load_recipe(str(path), catalog=catalog)
    with pytest.raises(PreflightError) as caught:
        export_recipe(loaded, catalog, target="verl", folder=tmp_path / "out", rows=3)
    assert caught.value.problems == (
        "rewards.0: shortest asks for finish, which verl does not tell rewards",
        "rewards.0: shortest compares the completions of a prompt; verl asks about one at a time",
        "rewards.1: judged asks for tokens, which verl does not tell rewards",
    )
    done = export_recipe(loaded, catalog, target="trl", folder=tmp_path / "out", rows=3)
    assert any(note.key == "rewards.0" for note in done.notes)


def test_a_column_that_a_reward_needs(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "1 + 1?", "gold": "2"}\n')
    loaded = recipe(tmp_path, dataset={"use": "jsonl", "with": {"path": str(rows)}})
    with pytest.raises(PreflightError, match="do not fit") as caught:
        export_recipe(loaded, CATALOG, target="trl", folder=tmp_path / "out")
    assert "answer" in caught.value.problems[0]


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe(tmp_path)
    assert main(["export", "recipe", "small.yaml", "--to", "axolotl", "--rows", "3"]) == ExitCode.OK
    said = capsys.readouterr()
    assert "written: small-axolotl/ (README.md, axolotl.yaml, grpokit_rewards.py" in said.out
    assert "PYTHONPATH=. axolotl train axolotl.yaml" in said.out
    assert "differs: rollout.shuffle" in said.err
    assert main(["export", "recipe", "small.yaml", "--to", "axolotl"]) == ExitCode.PREFLIGHT
    assert "not empty" in capsys.readouterr().err
    assert main(["export", "./small.yaml", "--to=trl", "--rows", "3"]) == ExitCode.OK
    assert "written: small-trl/" in capsys.readouterr().out
    assert main(["export", "recipe", "small.yaml", "--to", "ray"]) == ExitCode.USAGE
    assert "use one of trl, verl, axolotl" in capsys.readouterr().err


def test_the_group_shows_both_commands():
    done = subprocess.run(
        [sys.executable, "-m", "grpokit", "export", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "recipe" in done.stdout
    assert "weights" in done.stdout

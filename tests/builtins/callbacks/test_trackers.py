"""Real trackers watch a real run that is killed, resumed and, a second one, interrupted; then they are read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / ".venv/trackers"
SCRIPT = ROOT / "tests/helpers/tracked_runs.py"
STEPS = [1, 2, 3, 4, 5, 6, 7, 8]

pytestmark = pytest.mark.skipif(
    not (PACKAGES / "wandb").exists(), reason="tests/requirements-trackers.txt is not installed"
)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The helper in a process of its own; it may reach no network, and there is no key."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("WANDB_")},
        "PYTHONPATH": os.pathsep.join([*sys.path, str(PACKAGES)]),
        "NETRC": str(folder / "none"),
        "TRACKIO_DIR": str(folder / "trackio"),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # its databases need the whole of mlflow
        "MY_SECRET_THING": "swordfish",
    }
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> dict[str, Any]:
    """What the trackers have of both runs, and what the runs have themselves."""
    folder = tmp_path_factory.mktemp("tracked")
    killed = python(folder, "begin", str(tiny_model_folder), str(folder))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = python(folder, "resume", str(tiny_model_folder), str(folder))
    assert resumed.returncode == 0, resumed.stderr
    assert "switched off" not in killed.stderr + resumed.stderr
    assert resumed.stdout == ""  # trackers that greet would tear the live view
    done = python(folder, "read", str(folder))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    run = Path(found["runs"]["begin"])
    for name in ("metrics", "evals"):
        lines = (run / f"{name}.jsonl").read_text().splitlines()
        found[name] = [json.loads(line) for line in lines]
    found["files"] = [path for path in folder.rglob("*") if path.is_file()]
    return found


def test_a_killed_and_resumed_run_is_whole_and_not_doubled_in_tensorboard(
    read: dict[str, Any],
) -> None:
    scalars = read["tensorboard"]["begin"]["scalars"]
    expected = [[row["step"], row["reward"]] for row in read["metrics"]]
    assert [step for step, _ in expected] == STEPS
    assert [step for step, _ in scalars["train/reward"]] == STEPS
    assert [value for _, value in scalars["train/reward"]] == pytest.approx(
        [value for _, value in expected], abs=1e-6
    )
    assert [step for step, _ in scalars["eval/accuracy"]] == [2, 4, 6, 8]
    assert [step for step, _ in scalars["seconds/update"]] == STEPS
    assert "rewards/length/mean" in scalars


def test_tensorboard_shows_samples_and_the_recipe_as_code(read: dict[str, Any]) -> None:
    texts = read["tensorboard"]["begin"]["texts"]
    assert [step for step, _ in texts["samples/0/text_summary"]] == [1, 5]
    assert [step for step, _ in texts["samples/1/text_summary"]] == [1, 5]
    assert "samples/2/text_summary" not in texts
    ((step, recipe),) = texts["recipe/text_summary"]
    assert step == 0
    assert all(line.startswith("    ") for line in recipe.splitlines())
    assert json.loads(recipe)["train"]["seed"] == 7


def test_wandb_gets_anew_what_its_buffer_lost_with_the_process(read: dict[str, Any]) -> None:
    files = read["wandb"]["begin"]
    assert len(files) == 2
    rows = [row for file in files for row in file["rows"]]
    rewards = {row["step"]: row["train/reward"] for row in rows if "train/reward" in row}
    assert rewards == {row["step"]: row["reward"] for row in read["metrics"]}
    assert sum("train/reward" in row for row in rows) == len(STEPS)
    accuracies = [[row["step"], row["eval/accuracy"]] for row in rows if "eval/accuracy" in row]
    assert accuracies == [[row["step"], row["accuracy"]] for row in read["evals"]]


def test_wandb_continues_the_same_run_under_the_name_of_the_folder(read: dict[str, Any]) -> None:
    run = Path(read["runs"]["begin"])
    (note,) = (run / "trackers").glob("wandb-*.json")
    last = read["wandb"]["begin"][-1]
    assert (last["id"], last["name"], last["project"]) == (
        json.loads(note.read_text())["id"],
        run.name,
        "p",
    )
    assert all(f"-{last['id']}" in path.name for path in (run / "wandb").glob("offline-run-*"))
    assert last["exit"] == 0
    assert last["config"]["optim"]["lr"] == 0.01
    (stopped,) = read["wandb"]["stop"]
    assert stopped["exit"] == 1
    assert stopped["id"] != last["id"]


def test_trackio_has_each_step_once(read: dict[str, Any]) -> None:
    rows = read["trackio"]["begin"]
    assert [row["step"] for row in rows if "train/reward" in row] == STEPS
    assert [row["train/reward"] for row in rows if "train/reward" in row] == [
        row["reward"] for row in read["metrics"]
    ]
    assert [row["step"] for row in rows if "eval/accuracy" in row] == [2, 4, 6, 8]
    assert [row["step"] for row in read["trackio"]["stop"] if "train/reward" in row] == [1]


def test_mlflow_has_each_step_once_and_knows_how_the_run_ended(read: dict[str, Any]) -> None:
    run = read["mlflow"]["begin"]
    assert run["metrics"]["train/reward"] == [
        [row["step"], row["reward"]] for row in read["metrics"]
    ]
    assert run["metrics"]["eval/accuracy"] == [
        [row["step"], row["accuracy"]] for row in read["evals"]
    ]
    assert run["params"]["optim.lr"] == "0.01"
    assert run["params"]["rewards.1.use"] == "length"
    assert run["samples"] == ["samples/step-000001.txt"]
    assert (run["status"], read["mlflow"]["stop"]["status"]) == ("FINISHED", "KILLED")


def test_nothing_of_the_environment_is_written(read: dict[str, Any]) -> None:
    holding = [path for path in read["files"] if b"swordfish" in path.read_bytes()]
    assert holding == []

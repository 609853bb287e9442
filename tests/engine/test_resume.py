"""A run that was killed and resumed equals the one that was not, bit by bit."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands

STEPS = 6
RECIPE = """
grpokit: 1
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, with: {{text: a}}}}
  - {{use: length, weight: 0.5, with: {{min: 2, max: 12, ramp: 20, unit: characters}}}}
algorithm: {{use: grpo, with: {{beta: 0.05}}}}
rollout: {{prompts: 2, group: 4, max_tokens: 24}}
optim: {{lr: 0.01, schedule: cosine, iterations: 2, minibatches: 2}}
train: {{steps: {steps}, save_every: 2, keep: 2, seed: 7, out: runs, show_every: 0}}
"""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("resume")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder, steps=STEPS))
    with Commands(folder) as started:
        yield started


def newest_run(commands: Commands) -> Path:
    return max((commands.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def weights(run: Path) -> str:
    return hashlib.sha256((run / "final" / "adapter_model.safetensors").read_bytes()).hexdigest()


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    return rows


@pytest.fixture(scope="module")
def whole(commands: Commands) -> Path:
    """The uninterrupted run."""
    assert commands.run("train", "tiny.yaml", "--plain") == 0, commands.output
    return newest_run(commands)


def assert_same(run: Path, whole: Path) -> None:
    assert weights(run) == weights(whole)
    assert metrics(run) == metrics(whole)
    assert [row["step"] for row in metrics(run)] == list(range(1, STEPS + 1))
    assert (run / "rollouts.jsonl").read_bytes() == (whole / "rollouts.jsonl").read_bytes()
    leftovers = [path.name for path in run.rglob(".tmp*")]
    assert leftovers == []


def resume(commands: Commands) -> Path:
    run = newest_run(commands)
    assert commands.run("train", "--resume", str(run), "--plain") == 0, commands.output
    return run


def test_the_run_teaches_something(whole: Path) -> None:
    """Else equal weights would prove nothing."""
    rows = metrics(whole)
    assert all(row["grad_norm"] > 0 for row in rows)
    assert len({row["reward"] for row in rows}) > 1


STAGES = [("stage", call) for call in (3, 4, 10, 13, 16)]
SAVES = [("fsync", call) for call in (4, 8, 9, 10, 12, 14, 16, 22, 30)]
OTHERS = [("rename", 1), ("rename", 2)]


@pytest.mark.parametrize(("where", "call"), STAGES + SAVES + OTHERS)
def test_kill_9_at_a_chosen_moment(commands: Commands, whole: Path, where: str, call: int) -> None:
    status = commands.run("train", "tiny.yaml", "--plain", kill=call, where=where)
    assert status == -signal.SIGKILL, commands.output
    assert_same(resume(commands), whole)


@pytest.mark.parametrize("trial", range(4))
def test_kill_9_at_a_random_moment_twice(commands: Commands, whole: Path, trial: int) -> None:
    lot = random.Random(trial)
    step = lot.randrange(1, STEPS - 2)
    moment = ((lot.uniform(0.0, 0.1), signal.SIGKILL),)
    first = commands.run("train", "tiny.yaml", "--plain", signals=moment, when=f"step {step}/")
    assert first == -signal.SIGKILL, commands.output
    run = newest_run(commands)
    commands.run("train", "--resume", str(run), "--plain", signals=moment, when="steps ")
    assert_same(resume(commands), whole)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
@pytest.mark.parametrize(("step", "delay"), [(1, 0.0), (2, 0.03), (3, 0.07)])
def test_a_signal_saves_and_says_how_to_resume(
    commands: Commands, whole: Path, number: signal.Signals, code: int, step: int, delay: float
) -> None:
    status = commands.run(
        "train", "tiny.yaml", "--plain", signals=((delay, number),), when=f"step {step}/"
    )
    assert status == code, commands.output
    run = newest_run(commands)
    assert f"grpokit train --resume {run.relative_to(commands.folder)}" in commands.output
    assert "Traceback" not in commands.output
    done = len(metrics(run))
    assert (run / "checkpoints" / f"step-{done:06d}" / "MANIFEST.json").is_file()
    assert_same(resume(commands), whole)


def test_a_damaged_newest_checkpoint_is_skipped_and_named(commands: Commands, whole: Path) -> None:
    commands.run("train", "tiny.yaml", "--plain", kill=17, where="stage")
    run = newest_run(commands)
    newest = max((run / "checkpoints").glob("step-*"))
    victim = next((newest / "policy").glob("*.safetensors"))
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    resume(commands)
    assert f"skipped the checkpoint of step {int(newest.name[5:])}" in commands.output
    assert victim.name in commands.output
    assert_same(run, whole)


def test_resuming_a_complete_run_does_nothing(commands: Commands, whole: Path) -> None:
    before = weights(whole)
    assert commands.run("train", "--resume", str(whole)) == 0
    assert "complete already" in commands.output
    assert weights(whole) == before


def test_a_changed_recipe_is_refused_unless_told(commands: Commands) -> None:
    commands.run("train", "tiny.yaml", "--plain", kill=10, where="stage")
    run = str(newest_run(commands))
    assert commands.run("train", "--resume", run, "--set", "optim.lr=0.02", "--plain") == 2
    assert "optim.lr: the run has 0.01, asked for is 0.02" in commands.output
    assert "--force" in commands.output
    assert (
        commands.run("train", "--resume", run, "--set", "optim.lr=0.02", "--force", "--plain") == 0
    ), commands.output


def test_a_forced_change_of_a_component_is_forced_once(commands: Commands) -> None:
    commands.run("train", "tiny.yaml", "--plain", kill=10, where="stage")
    run = newest_run(commands)
    plan = json.loads((run / "plan.json").read_text())
    changed = {**plan, "dataset_fingerprint": "another"}
    (run / "plan.json").write_text(json.dumps(changed))
    assert commands.run("train", "--resume", str(run), "--plain") == 2
    assert "data set content: the run has another" in commands.output
    assert commands.run("train", "--resume", str(run), "--plain", "--force", "--steps", "4") == 0
    assert commands.run("train", "--resume", str(run), "--plain", "--steps", "5") == 0


def test_what_only_watches_may_be_left_out_of_a_resumed_run(commands: Commands) -> None:
    option = "eval.dataset={use: arithmetic, with: {split: test}}"
    commands.run("train", "tiny.yaml", "--plain", "--set", option, kill=10, where="stage")
    run = newest_run(commands)
    options = ["--set", "eval.dataset=null", "--steps", "3"]
    assert commands.run("train", "--resume", str(run), "--plain", *options) == 0, commands.output


@pytest.mark.parametrize("file", ["recipe.yaml", "plan.json"])
def test_a_run_folder_with_a_broken_file_is_told(commands: Commands, file: str) -> None:
    commands.run("train", "tiny.yaml", "--plain", kill=3, where="stage")
    run = newest_run(commands)
    (run / file).write_text("{")
    assert commands.run("train", "--resume", str(run), "--plain") == 6
    assert f"{file}: cannot be read" in commands.output


def test_more_steps_may_be_asked_for(commands: Commands) -> None:
    assert commands.run("train", "tiny.yaml", "--plain", "--steps", "2") == 0, commands.output
    run = newest_run(commands)
    assert commands.run("train", "--resume", str(run), "--plain", "--steps", "4") == 0
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4]


def test_evaluations_during_training_survive_a_kill(commands: Commands) -> None:
    asked = ["eval.every=2", "eval.limit=6", "eval.dataset={use: arithmetic, with: {split: test}}"]
    options = [word for each in asked for word in ("--set", each)]
    options += ["--set", "eval.correct=length", "--set", "eval.threshold=0.9"]
    assert commands.run("train", "tiny.yaml", "--plain", *options) == 0, commands.output
    whole = (newest_run(commands) / "evals.jsonl").read_text()
    assert [json.loads(line)["step"] for line in whole.splitlines()] == [2, 4, 6]
    for call in (8, 14, 18):
        status = commands.run("train", "tiny.yaml", "--plain", *options, kill=call, where="stage")
        assert status == -signal.SIGKILL
        assert (resume(commands) / "evals.jsonl").read_text() == whole


def test_a_stopped_run_leaves_no_process_behind(commands: Commands) -> None:
    moment = ((0.05, signal.SIGTERM),)
    assert commands.run("train", "tiny.yaml", "--plain", signals=moment, when="step 2/") == 143
    assert commands.children() == []

"""Runs in which policy, optimiser or reference begin anew, killed twice and resumed: nothing differs."""

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
model: {{id: {model}, lora: {lora}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, with: {{text: a}}}}
  - {{use: length, weight: 0.5, with: {{min: 2, max: 12, ramp: 20, unit: characters}}}}
algorithm: {algorithm}
rollout: {{prompts: 2, group: 4, max_tokens: 24}}
optim: {{lr: 0.01, schedule: cosine}}
train: {{steps: {steps}, save_every: 1, keep: 3, seed: 7, out: runs, show_every: 0}}
"""
LORA = "{rank: 4, alpha: 8}"
RESET = "every: 2, kl_above: 0.02, window: 2, patience: 2"
CASES = {
    "prorl": (f"{{use: prorl, with: {{on_bound: train, beta: 0.05, {RESET}}}}}", LORA),
    "prorl, full": (f"{{use: prorl, with: {{on_bound: train, beta: 0.05, {RESET}}}}}", "null"),
    "rest-em": ("{use: rest-em, with: {threshold: 0.3, every: 2}}", LORA),
    "rest-em, full": ("{use: rest-em, with: {threshold: 0.3}}", "null"),
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with Commands(tmp_path_factory.mktemp("memory")) as started:
        yield started


def newest_run(folder: Path) -> Path:
    return max((folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def told(run: Path) -> tuple[str, list[dict[str, Any]]]:
    """Hash of the final weights, and the metrics of all steps."""
    path = next((run / "final").glob("*.safetensors"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    return hashlib.sha256(path.read_bytes()).hexdigest(), rows


@pytest.mark.parametrize("name", CASES)
def test_killed_twice_and_resumed(commands: Commands, tiny_model_folder: Path, name: str) -> None:
    algorithm, lora = CASES[name]
    text = RECIPE.format(model=tiny_model_folder, lora=lora, algorithm=algorithm, steps=STEPS)
    (commands.folder / "run.yaml").write_text(text)
    assert commands.run("train", "run.yaml", "--plain") == 0, commands.output
    whole = told(newest_run(commands.folder))
    assert len(whole[1]) == STEPS
    lot = random.Random(name)
    moment = ((lot.uniform(0.0, 0.05), signal.SIGKILL),)
    status = commands.run("train", "run.yaml", "--plain", signals=moment, when="step 3/")
    assert status == -signal.SIGKILL, commands.output
    run = newest_run(commands.folder)
    resume = ("train", "--resume", str(run), "--plain")
    commands.run(*resume, signals=moment, when="step 5/")
    assert commands.run(*resume) == 0, commands.output
    assert told(run) == whole

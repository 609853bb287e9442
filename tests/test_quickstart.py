"""The quickstart truly learns, run as a person runs it, in half its steps.

What all of them give is in README and in the recipe's receipt, which `tests/receipts` holds to the code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


def grpokit(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "grpokit", *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    shown = grpokit(folder, "train", "quickstart", "--set", "train.steps=60")
    (run,) = (folder / "runs").iterdir()
    assert f"grpokit eval runs/{run.name} --base" in shown
    return run


@pytest.fixture(scope="module")
def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_mean_reward_rises(metrics: list[dict[str, Any]]) -> None:
    first = sum(row["reward"] for row in metrics[:5]) / 5
    last = sum(row["reward"] for row in metrics[-5:]) / 5
    assert last - first >= 0.3


def test_the_trained_model_beats_the_base_on_held_out_problems(folder: Path, run: Path) -> None:
    summary = json.loads(grpokit(folder, "eval", "last", "--base", "--json"))
    low, _ = summary["comparison"]["interval"]
    assert low > 0
    assert summary["comparison"]["verdict"] == "improved"
    trained = {
        message["content"]
        for line in (run / "rollouts.jsonl").read_text().splitlines()
        for message in json.loads(line)["prompt"]["messages"]
    }
    samples = next((run / "eval").rglob("samples.jsonl")).read_text().splitlines()
    asked = {json.loads(line)["question"] for line in samples}
    assert len(asked) >= 150
    assert not asked & trained


def test_the_run_directory_stays_small(run: Path) -> None:
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    assert size <= 120e6


def test_the_records_have_what_the_reference_lists(metrics: list[dict[str, Any]]) -> None:
    names = {
        "reward", "rewards/number/mean", "rewards/number/std", "rewards/format/mean",
        "dead_groups", "length/mean", "truncated", "entropy", "clip_low", "clip_high",
        "grad_norm", "lr", "sampler_gap",
    }  # fmt: skip
    assert names <= set(metrics[0])
    assert {"generate", "score", "update", "total"} <= set(metrics[0]["seconds"])

"""The package of docs/howto-algorithm.md, installed as its reader installs it, trains."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from dists import grpokit
from doc_pages import ROOT, write_project
from tiny_model import write_tiny_model

PAGE = ROOT / "docs" / "howto-algorithm.md"
RECIPE = """
grpokit: 1
model: {{id: {model}, lora: null, dtype: float32}}
dataset: {{use: arithmetic}}
rewards: [{{use: length, with: {{unit: characters, max: 2, ramp: 12}}}}]
algorithm: {{use: loo-reinforce}}
rollout: {{prompts: 4, group: 8, max_tokens: 8}}
optim: {{lr: 0.01, schedule: constant, warmup: 0}}
backend: {{use: hf, with: {{threads: 1, device: cpu}}}}
train: {{steps: 10, save_every: 10, seed: 3, out: {out}, show_every: 0}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loo") / "project"
    folder.mkdir()
    found = write_project(PAGE, folder)
    assert found is not None
    return found


def test_the_algorithm_is_one_short_file_on_the_public_api(site: Path) -> None:
    source = (site / "grpokit_loo" / "parts.py").read_text()
    assert len(source.splitlines()) < 80
    for path in (site / "grpokit_loo").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("grpokit"):
                assert node.module in ("grpokit.api", "grpokit_loo.parts")


def test_it_is_listed_beside_the_others(site: Path) -> None:
    done = grpokit("algorithms", "show", "loo/loo-reinforce", path=site)
    assert done.returncode == 0, done.stderr
    assert "2402.14740" in done.stdout


def test_it_trains_and_learns(site: Path, tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny")
    out = tmp_path / "runs"
    (tmp_path / "r.yaml").write_text(RECIPE.format(model=tmp_path / "tiny", out=out))
    done = grpokit("train", str(tmp_path / "r.yaml"), "--plain", path=site)
    assert done.returncode == 0, done.stderr
    (run,) = out.iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rewards = [row["reward"] for row in rows]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.6

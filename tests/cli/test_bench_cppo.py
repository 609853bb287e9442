"""`grpokit bench cppo`: a small real bench, its numbers, its repetition, its refusals."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from grpokit.cli.main import main
from grpokit.report import canvas

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: null, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, name: has-a, with: {{text: a}}}}
  - {{use: length, weight: 0.5, with: {{min: 2, max: 4, ramp: 8, unit: characters}}}}
algorithm: {{use: grpo, with: {{epsilon: 0.05}}}}
rollout: {{prompts: 1, group: 8, max_tokens: 6}}
optim: {{lr: 0.01, schedule: constant, max_grad_norm: 1.0, iterations: 2}}
backend: {{use: hf, with: {{device: cpu, threads: 1}}}}
scoring: {{isolate: false}}
train: {{steps: 4, seed: 5, save_every: 100, show_every: 0}}
eval:
  dataset: {{use: arithmetic, with: {{split: test}}}}
  correct: length
  temperature: 1.0
  max_tokens: 5
  limit: 8
"""
BENCH = ("bench", "cppo", "tiny.yaml", "--seeds", "1", "--skipping", "", "--out", "out")


def run(*argv: str) -> tuple[int, str]:
    """Exit code and all that was said."""
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = main([*argv])
    return code, said.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("bench-cppo")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder))
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def bench(folder: Path) -> str:
    code, said = run(*BENCH, "--rates", "0.75")
    assert code == 0, said
    return said


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_see_equal_questions_and_train_on_fewer_completions(folder: Path, bench: str) -> None:
    for part in ("paper: GSM8K", "78.81 3.27x", "whole step", "generate", "of GRPO's"):
        assert part in bench, part
    assert "3/3 CPPO 0.75 alloc, seed 5: " in bench
    out = folder / "out"
    data = json.loads((out / "results.json").read_text())
    grpo, pruned, allocated = data["algorithms"]
    assert [each["questions"] for each in data["algorithms"]] == [4, 4, 4]
    assert [each["completions"] for each in data["algorithms"]] == [32, 32, 32]
    assert [each["forwarded"] for each in data["algorithms"]] == [32, 8, 8]
    assert [each["steps"] for each in data["algorithms"]] == [4, 4, 1]
    folders = [out / each["runs"][0]["folder"] for each in (grpo, pruned, allocated)]
    rows = [lines(folder / "metrics.jsonl") for folder in folders]
    assert [len(each) for each in rows] == [4, 4, 1]
    asked = [
        [row["prompt"]["id"] for row in lines(folder / "rollouts.jsonl")] for folder in folders
    ]
    assert asked[0] == asked[1] == asked[2]
    kept = [
        sum(each["kept"] for each in row["completions"])
        for row in lines(folders[2] / "rollouts.jsonl")
    ]
    assert max(kept) == 2
    for item, found in zip(data["algorithms"], rows, strict=True):
        total = sum(row["seconds"]["total"] for row in found)
        assert item["seconds"]["total"] == pytest.approx(total)
    before, after = (each["seconds"]["update"] for each in (grpo, allocated))
    assert allocated["ratio"]["update"]["mean"] == pytest.approx(before / after)
    recipes = [json.loads((folder / "plan.json").read_text())["recipe"] for folder in folders]
    assert [each["backend"]["with"]["skip"] for each in recipes] == [False] * 3
    assert (out / "table.md").read_text().startswith("| method | P | k |")


@pytest.mark.usefixtures("bench")
def test_a_second_call_trains_only_what_is_new(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "find_spec", lambda _name: None)
    out = folder / "out"
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("metrics.jsonl")}
    skipping = (*BENCH[:5], "--skipping", "0", *BENCH[-2:])
    code, said = run(*skipping, "--rates", "0.75", "--json")
    assert code == 0, said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list((out / "runs").iterdir())) == len(before) + 1
    labels = [
        each["label"] for each in json.loads((out / "results.json").read_text())["algorithms"]
    ]
    assert labels == ["GRPO", "GRPO skip", "CPPO 0.75", "CPPO 0.75 alloc"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--rates", "1.0"], 2, ["'1.0' is no rate", "below 1"]),
        (["--rates", "abc,0.5"], 2, ["'abc' is no rate", "--rates 0.5,0.875"]),
        (
            ["--rates", "0.9375,0.6"],
            2,
            ["2 problems", "keeps 0.5 of 8", "keeps 3.2 of 8", "nothing was trained"],
        ),
        (["--questions", "3"], 2, ["3 questions do not fill one step at rate 0.75"]),
        (["--set", "algorithm.use=dapo"], 2, ["algorithm.use is the bench's own business"]),
        (["--set", "backend={use: trl}"], 3, ["trl cannot forward rows", "backend.use=hf"]),
        (["--set", "eval.dataset=null"], 3, ["names no held-out data set", "out of --rates"]),
        (["--set", "optim.lr=-1"], 2, ["lr"]),
    ],
)
def test_refusals_come_before_any_training(
    folder: Path, options: list[str], code: int, said: list[str]
) -> None:
    out = folder / "refused"
    rates = () if "--rates" in options else ("--rates", "0.5,0.75")
    found, output = run(*BENCH[:-1], str(out), *rates, *options)
    assert found == code, output
    for part in said:
        assert part.lower() in output.lower()
    assert not out.exists()
    assert "Traceback" not in output


@pytest.mark.usefixtures("folder")
def test_an_unknown_recipe_is_said_to_be_unknown() -> None:
    code, said = run("bench", "cppo", "bench-cpo")
    assert code == 2
    assert "there is no recipe named `bench-cpo`" in said

"""`grpokit probe` on a real tiny model: numbers, verdicts, refusals; and what training then shows."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from commands import Commands

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards:
  - {{use: contains, name: has-e, with: {{text: e}}}}
  - {{use: length, weight: 0, with: {{min: 2, max: 12, ramp: 20, unit: characters}}}}
rollout: {{prompts: 4, group: 8, max_tokens: 12}}
optim: {{lr: 0.01, schedule: constant, max_grad_norm: 10.0}}
train: {{steps: 10, save_every: 10, out: runs, show_every: 0}}
"""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("probe")
    (folder / "tiny.yaml").write_text(RECIPE.format(model=tiny_model_folder))
    with Commands(folder) as started:
        yield started


def probe(commands: Commands, *options: str, code: int = 0) -> dict[str, Any]:
    out = commands.folder / "found.json"
    out.unlink(missing_ok=True)
    assert commands.run("probe", "tiny.yaml", "--out", str(out), *options) == code, commands.output
    return dict(json.loads(out.read_text()))


@pytest.fixture(scope="module")
def found(commands: Commands) -> tuple[str, dict[str, Any]]:
    data = probe(commands)
    return commands.output, data


def test_the_first_steps_of_training_are_as_it_says(
    commands: Commands, found: tuple[str, dict[str, Any]]
) -> None:
    low, high = found[1]["dead"]["8"]["interval"]
    assert high - low < 0.6
    assert commands.run("train", "tiny.yaml", "--plain") == 0, commands.output
    [run] = (commands.folder / "runs").iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert low <= fmean(row["dead_groups"] for row in rows) <= high


def test_its_numbers_agree_with_one_another(found: tuple[str, dict[str, Any]]) -> None:
    output, data = found
    assert (data["questions"], data["samples"], data["rehearsed"]) == (32, 16, 5)
    assert sum(data["solved"]["histogram"]) == data["solved"]["known"] == 32
    assert data["scores"]["has-e"]["mean"] == pytest.approx(data["solved"]["mean"])
    assert data["scores"]["length"]["weight"] == 0
    shares = [data["dead"][size]["share"] for size in ("4", "8", "16")]
    assert shares == sorted(shares, reverse=True)
    assert data["dead"]["32"]["share"] is None
    assert data["dead"]["32"]["bounds"][1] == pytest.approx(shares[-1])
    eight = data["dead"]["8"]
    assert eight["now"] == pytest.approx(eight["now_passed"] + eight["now_failed"])
    assert data["algorithm_differs"] == {"groups": 0, "compared": 2}
    assert data["time"]["whole"]
    assert data["verdict"]["verdict"] in output
    assert "share of dead groups, mean of the first 10 steps" in output
    assert max(map(len, output.splitlines())) < 120


def test_nothing_of_it_is_left_but_the_file(
    found: tuple[str, dict[str, Any]], commands: Commands
) -> None:
    assert {each.name for each in commands.folder.iterdir()} >= {"tiny.yaml", "found.json"}
    assert not list(commands.folder.glob(".tmp*"))


def test_a_recipe_without_a_signal_will_not_learn(commands: Commands) -> None:
    never = ("--set", "rewards.0.with.text=zebra", "--questions", "6")
    data = probe(commands, *never, "--strict", code=1)
    assert data["verdict"]["verdict"] == "will not learn"
    assert "no completion passes `has-e`" in data["verdict"]["reasons"][0]["fact"]
    assert data["dead"]["8"]["now"] == 1
    assert data["rehearsed"] == 0  # nothing would move
    assert data["suggested"]["group"] is None
    assert probe(commands, *never)["verdict"] == data["verdict"]


def test_all_solved_will_not_learn_either(commands: Commands) -> None:
    change = (
        "--set",
        "rewards.0.use=length",
        "--set",
        "rewards.0.with={min: 0, max: 900, unit: characters}",
    )
    data = probe(commands, *change, "--set", "rewards.1.weight=0", "--questions", "6")
    assert data["verdict"]["reasons"][0]["fact"].startswith("every question is solved already")


def test_filtering_algorithms_are_told_apart(commands: Commands) -> None:
    change = (
        "--set",
        "algorithm.parts.allocate.use=dynamic-sampling",
        "--rehearse",
        "0",
        "--questions",
        "8",
    )
    data = probe(commands, *change)
    assert data["rehearsed"] == 0
    assert 1 <= data["rounds"]["mean"] <= data["rounds"]["most"] == 10
    assert "Before filtering" in commands.output
    assert "a policy that stands still" in commands.output.replace("\n    ", " ")


def test_what_cannot_run_is_refused(commands: Commands) -> None:
    assert commands.run("probe", "tiny.yaml", "--samples", "4") == 3
    assert "4 samples a question tell nothing of groups of 8" in commands.output
    assert commands.run("probe", "tiny.yaml", "--set", "model.id=./nowhere") == 3
    assert "cannot run here" in commands.output
    assert "Traceback" not in commands.output
    assert commands.run("probe", "tiny.yaml", "--out", "no/where.json") == 6
    assert "there is no folder no" in commands.output


def test_an_interrupt_leaves_nothing(commands: Commands) -> None:
    out = commands.folder / "stopped.json"
    long = ("--set", "rollout.max_tokens=200")
    code = commands.run(
        "probe",
        "tiny.yaml",
        "--out",
        str(out),
        *long,
        signals=((0.0, signal.SIGINT),),
        when="base model: 8 of 32",
    )
    assert code == 130
    assert not out.exists()
    assert "Traceback" not in commands.output

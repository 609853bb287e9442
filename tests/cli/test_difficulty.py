"""`grpokit difficulty` on a real tiny model: the file, going on, and training with it."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands

RECIPE = """
grpokit: 1
model: {{id: {model}, lora: {{rank: 4, alpha: 8}}, dtype: float32}}
dataset: {{use: arithmetic}}
rewards: [{{use: contains, name: has-e, with: {{text: e}}}}]
rollout: {{prompts: 4, group: 4, max_tokens: 12}}
train: {{steps: 2, out: runs, show_every: 0}}
"""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("difficulty")
    shutil.copytree(tiny_model_folder, folder / "model")
    (folder / "tiny.yaml").write_text(RECIPE.format(model="./model"))
    with Commands(folder) as started:
        yield started


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def file(commands: Commands) -> Path:
    assert commands.run("difficulty", "tiny.yaml", "--rows", "24") == 0, commands.output
    return commands.folder / "difficulty-tiny.jsonl"


def test_a_line_a_row(file: Path) -> None:
    head, *rows = lines(file)
    assert (head["kind"], head["samples"]) == ("grpokit difficulty", 16)
    assert [row["row"] for row in rows] == list(range(24))
    assert all(0 <= row["pass_rate"] == row["mean_total"] <= 1 for row in rows)
    assert len({row["pass_rate"] for row in rows}) >= 2
    assert not file.with_name(file.name + ".partial").exists()


def test_the_same_command_goes_on(commands: Commands, file: Path) -> None:
    """Stopped in the middle, then with more rows: each row is as if it had been asked at once."""
    out = commands.folder / "stopped.jsonl"
    again = ("difficulty", "tiny.yaml", "--out", str(out))
    code = commands.run(
        *again, "--rows", "24", signals=((0.0, signal.SIGINT),), when="difficulty: 6 of 24"
    )
    assert code == 130
    assert "goes on with the rows that are there" in commands.output
    assert not out.exists()
    partial = out.with_name(out.name + ".partial")
    there = lines(partial)
    assert 6 <= len(there) - 1 < 24
    with partial.open("a") as torn:
        torn.write('{"row": 23, "pass')
    assert commands.run(*again, "--rows", "24", "--json") == 0, commands.output
    assert f'"new": {24 - len(there) + 1}' in commands.output
    assert lines(out) == lines(file)
    assert commands.run(*again, "--rows", "26", "--json") == 0, commands.output
    assert '"new": 2' in commands.output
    assert lines(out)[:25] == lines(file)


def test_a_file_of_something_else_is_left_alone(commands: Commands, file: Path) -> None:
    before = file.read_bytes()
    change = ("--set", "rewards.0.with.text=a", "--rows", "24")
    assert commands.run("difficulty", "tiny.yaml", *change) == 6
    assert "measured with another asked" in commands.output
    assert commands.run("difficulty", "tiny.yaml", "--rows", "24", "--out", "tiny.yaml") == 6
    assert file.read_bytes() == before
    assert commands.run("difficulty", "tiny.yaml", "--rows", "24", "--samples", "8") == 6
    assert "measured with another samples" in commands.output


def test_training_reads_it(commands: Commands, file: Path) -> None:
    """Only rows of the band are asked, and they bring their pass rates."""
    use = (
        *("--set", f"dataset.difficulty={file.name}"),
        *("--set", "algorithm.parts.sampler.use=band"),
        *("--set", "algorithm.parts.sampler.with={low: 0.01, high: 0.5}"),
    )
    inside = {row["row"] for row in lines(file)[1:] if 0.01 <= row["pass_rate"] <= 0.5}
    assert 0 < len(inside) < 24
    assert commands.run("train", "tiny.yaml", "--plain", *use) == 0, commands.output
    [run] = (commands.folder / "runs").iterdir()
    asked = {row["prompt"]["index"] for row in lines(run / "rollouts.jsonl")}
    assert asked <= inside
    # The recipe that names the file is the one that writes it.
    file.unlink()
    assert commands.run("plan", "tiny.yaml", *use) == 3
    assert "there is no such file" in commands.output
    assert commands.run("difficulty", "tiny.yaml", "--rows", "24", *use) == 0, commands.output
    assert commands.run("plan", "tiny.yaml", *use) == 0, commands.output


def test_pass_rates_of_another_model_or_data_set_are_refused(
    commands: Commands, file: Path
) -> None:
    use = ("--set", f"dataset.difficulty={file.name}")
    shutil.copytree(commands.folder / "model", commands.folder / "other")
    assert commands.run("plan", "tiny.yaml", *use, "--set", "model.id=./other") == 3
    assert "P217" in commands.output
    assert "and this recipe trains" in commands.output.replace("\n    ", " ")
    assert commands.run("plan", "tiny.yaml", *use, "--set", "dataset.with.level=1") == 3
    assert "these pass rates are of another data set" in commands.output.replace("\n    ", " ")
    assert commands.run("plan", "tiny.yaml", *use, "--set", "rollout.temperature=0.7") == 0
    assert "P218" in commands.output


def test_an_endless_data_set_needs_a_number(commands: Commands) -> None:
    endless = ("--set", "dataset.with.level=5", "--out", "endless.jsonl", "--samples", "2")
    assert commands.run("difficulty", "tiny.yaml", *endless) == 3
    assert "add --rows 500" in commands.output
    assert commands.run("difficulty", "tiny.yaml", *endless, "--set", "dataset.limit=4") == 0
    assert len(lines(commands.folder / "endless.jsonl")) == 5

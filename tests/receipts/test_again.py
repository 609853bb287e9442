"""Trained, measured, written down, and done again: the whole way with a real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpokit.cli.main import main


def test_the_whole_way(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recipe.parent)
    with recipe.open("a") as file:
        file.write("scoring: {isolate: false}\n")
    assert main(["train", "sums.yaml", "--plain", "--skip-reward-check"]) == 0
    assert main(["eval", "last", "--base"]) == 0
    assert main(["recipes", "receipt", "last", "--recipe", "sums.yaml"]) == 0
    capsys.readouterr()
    again = ["--train", "--eval", "--out", "again", "--json"]
    assert main(["recipes", "verify", "sums.yaml", *again]) == 0
    out, err = capsys.readouterr()
    (told,) = json.loads(out)["recipes"]
    states = {fact["name"]: fact["state"] for fact in told["facts"]}
    assert states["base again"] == "recomputed"
    assert states["trained again, seed 1"] == "recomputed", told
    assert states["trained again"] == "recomputed"
    assert states["model"] == "same"
    assert "not checked" not in states.values()
    (checked,) = (fact["text"] for fact in told["facts"] if fact["name"] == "reward check")
    assert checked == "skipped before training: --skip-reward-check"
    assert "step 2/2" in err
    assert len(list(Path("again").iterdir())) == 1
    assert len(list(Path("runs").iterdir())) == 1
    assert main(["train", "--resume", "last", "--steps", "3", "--plain"]) == 0
    (run,) = Path("runs").iterdir()
    (resumed,) = map(json.loads, (run / "resumes.jsonl").read_text().splitlines())
    assert (resumed["changed"], resumed["forced"]) == (["train.steps"], [])
    recipe.write_text(recipe.read_text().replace("steps: 2", "steps: 3"))
    capsys.readouterr()
    assert main(["recipes", "receipt", "last", "--recipe", "sums.yaml"]) == 3
    err = capsys.readouterr().err
    assert "its first steps had another train.steps: train it again" in err
    assert "it is older than the trained weights" in err

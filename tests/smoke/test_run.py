"""What a smoke run leaves: who wrote which completion, and that the rewards scored it like any other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from commands import Commands
from grpokit.engine.checkpoint import verify

ON_TRL = ["--set", "backend={use: trl}"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    with Commands(folder) as commands:
        assert commands.run("train", "quickstart", "--smoke", "--smoke-out", "out") == 0
        assert "kept in out" in commands.output
    return folder / "out"


def test_half_of_each_group_is_written(kept: Path) -> None:
    (run,) = (path for path in kept.glob("run-*") if not path.name.endswith("-resumed"))
    rows = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 1, 2, 2]
    for place, row in enumerate(rows):
        written = [each for each in row["completions"] if each["sample"] % 2 == place % 2]
        drawn = [each for each in row["completions"] if each["sample"] % 2 != place % 2]
        box = f"\\boxed{{{row['prompt']['answer']}}}"
        right = [box in each["text"] for each in written]
        assert right == [True, True, False, True]
        assert Counter(each["total"] for each in written) == {1.0: 3, 0.1: 1}
        assert all(each["finish"] == "stop" for each in written)
        assert all(each["total"] == 0.0 and "boxed" not in each["text"] for each in drawn)
        assert len({each["text"] for each in drawn}) == len(drawn)


def test_everything_is_there(kept: Path) -> None:
    assert (kept / "smoke.yaml").is_file()
    (run,) = (path for path in kept.glob("run-*") if not path.name.endswith("-resumed"))
    again = kept / f"{run.name}-resumed"
    for home in (run, again):
        assert [verify(home / "checkpoints" / f"step-00000{step}") for step in (1, 2)] == ["", ""]
    policies = [
        (home / "checkpoints" / "step-000002" / "policy" / "adapter_model.safetensors").read_bytes()
        for home in (run, again)
    ]
    assert policies[0] == policies[1]
    assert policies[0] != (kept / "before" / "adapter_model.safetensors").read_bytes()
    assert (run / "export" / "adapter" / "proof.json").is_file()
    assert json.loads((run / "eval" / "smoke" / "summary.json").read_text())


def test_trl_goes_the_same_way(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    with Commands(tmp_path) as commands:
        assert commands.run("train", "quickstart", "--smoke", *ON_TRL) == 0, commands.output
        assert "backend hf" not in commands.output
        assert "the same weights, bit for bit" in commands.output

"""Evaluations read back are those that were written, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compared_runs import evaluation
from grpokit.errors import CheckpointError
from grpokit.evaluate.records import write_evaluation
from grpokit.evaluate.stored import read_stored


def test_round_trip(tmp_path: Path) -> None:
    models = [
        evaluation("0101", label="base", adapter="", samples=2),
        evaluation("1111", samples=2),
    ]
    write_evaluation(tmp_path / "e", models, None)
    found = read_stored(tmp_path / "e")
    assert [each.evaluation for each in found] == models
    assert found[1].told["accuracy"] == 1.0


def test_files_of_an_earlier_version(tmp_path: Path) -> None:
    """Without sample, cluster and pass_at, and with what is not known."""
    write_evaluation(tmp_path, [evaluation("01")], None)
    path = tmp_path / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["sample"], row["cluster"]
        row["later"] = 1
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = json.loads((tmp_path / "summary.json").read_text())
    del told["models"][0]["pass_at"]
    (tmp_path / "summary.json").write_text(json.dumps(told))
    assert read_stored(tmp_path)[0].evaluation == evaluation("01")


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("samples.jsonl", ('"correct": true', '"correct": false'), "disagree"),
        ("samples.jsonl", ('"id": "q1"', '"id": "q0"'), "disagree"),
        ("samples.jsonl", ('"correct": true', '"correct": 1'), "neither right nor wrong"),
        ("samples.jsonl", ('"model": "trained"', '"model": "x"'), "disagree"),
        ("samples.jsonl", ('"cluster": null', '"cluster": "c"'), "no cluster"),
        ("samples.jsonl", ('"text"', '"texts"'), "TypeError"),
        ("summary.json", ('"models"', '"model"'), "KeyError"),
        ("summary.json", ('"decides": "exact"', '"decides": ["exact"]'), "no name"),
        ("summary.json", ('"fingerprint": {', '"fingerprint": [], "x": {'), "no object"),
    ],
)
def test_damage(tmp_path: Path, name: str, change: tuple[str, str], why: str) -> None:
    write_evaluation(tmp_path, [evaluation("10")], None)
    text = (tmp_path / name).read_text()
    assert change[0] in text
    (tmp_path / name).write_text(text.replace(*change, 1))
    with pytest.raises(CheckpointError, match=why) as error:
        read_stored(tmp_path)
    assert error.value.place == str(tmp_path)


def test_unequal_numbers_of_answers(tmp_path: Path) -> None:
    write_evaluation(tmp_path, [evaluation("1111", samples=2)], None)
    text = (tmp_path / "samples.jsonl").read_text()
    (tmp_path / "samples.jsonl").write_text(text.replace('"id": "q1"', '"id": "q0"', 1))
    with pytest.raises(CheckpointError, match="more often"):
        read_stored(tmp_path)


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_stored(tmp_path)

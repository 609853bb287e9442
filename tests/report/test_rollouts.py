"""Rollouts in the page are those of the file: each step once, nothing invented, nothing unsaid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grpokit.report import rollouts as module
from grpokit.report.rollouts import QUADRANTS, format_reward
from report_pages import HOSTILE, packed, unpacked, varied_groups
from saved_runs import completion, group, rows

REWARDS = [{"use": "exact"}, {"use": "format", "weight": 0.1, "with": {"boxed": True}}]
CORRECT = {"correct": "exact"}


def test_the_page_holds_what_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 10)  # several chunks
    groups = varied_groups(7)
    groups[3] = {"step": 2, "prompt": groups[3]["prompt"], "dropped": True, **groups[3]}
    groups[4]["completions"][1] |= {"total": None, "errors": {"exact": "too slow"}, "kept": False}
    groups[4]["completions"][1]["rewards"]["exact"] = None
    run, found, written = packed(tmp_path, groups)
    seen = unpacked(written)
    expected = [(each, one) for each in groups for one in each["completions"]]
    assert found.completions == found.packed == len(seen) == len(expected) == 56
    assert written.count(b'class="columns"') > 4
    for row, (each, one) in zip(seen, expected, strict=True):
        assert row["prompt"] == {
            "id": each["prompt"]["id"],
            "index": each["prompt"]["index"],
            "messages": [["user", f"question {each['prompt']['index']}"]],
            "answer": "a",
        }
        assert (row["s"], row["g"], row["t"]) == (each["step"], one["sample"], one["tokens"])
        assert (row["f"], row["k"]) == (one["finish"] == "length", one["kept"])
        assert row["d"] == each.get("dropped", False)
        assert row["l"] == (None if one["total"] is None else pytest.approx(one["total"]))
        assert (row["a"], row["rewards"], row["text"]) == (
            one["advantage"],
            one["rewards"],
            one["text"],
        )
        assert (row["errors"], row["x"]) == (one.get("errors", {}), bool(one.get("errors")))
    assert run.missing == []


def test_hostile_text_comes_back_letter_by_letter(tmp_path: Path) -> None:
    ones = [completion(g, text, 1.0, exact=1.0) for g, text in enumerate(HOSTILE)]
    each = group(1, 0, HOSTILE[0], ones)
    each["prompt"]["messages"][0]["content"] = HOSTILE[1]
    each["prompt"]["id"] = HOSTILE[0]
    run, _, _ = packed(tmp_path, [])
    path = run.path / "rollouts.jsonl"
    path.write_text(json.dumps(each) + "\n", "utf-8")
    with (tmp_path / "again").open("wb") as file:
        module.pack(run, 0, file, limit=100, shown=lambda *_: None)
    written = (tmp_path / "again").read_bytes()
    seen = unpacked(written)
    assert [row["text"] for row in seen] == list(HOSTILE)
    assert seen[0]["prompt"]["messages"] == [["user", HOSTILE[1]]]
    assert b"pwned" not in written
    assert b"<img" not in written


def test_the_quadrants_are_a_count(tmp_path: Path) -> None:
    groups = varied_groups(5, prompts=3)
    groups[0]["completions"][0]["rewards"]["exact"] = None  # neither right nor wrong
    run, found, _ = packed(tmp_path, groups, rewards=REWARDS, eval=CORRECT)
    assert format_reward(run) == "format"
    for step in range(1, 6):
        counts = dict.fromkeys(QUADRANTS, 0)
        for each in groups:
            for one in each["completions"] if each["step"] == step else ():
                scores = one["rewards"]
                if scores["exact"] is not None:
                    right = "right" if scores["exact"] >= 1 else "wrong"
                    formed = scores["format"] >= 1
                    joint = {"right": "and", "wrong": "but"}[right] + " " if formed else ""
                    name = f"{right} {joint}formatted" if formed else f"{right}, not formatted"
                    counts[name] += 1
        assert dict(zip(QUADRANTS, found.quadrants[step], strict=True)) == counts


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"rewards": [{"use": "exact"}]},
        {"rewards": [{"use": "format", "with": {"boxed": True}}]},
    ],
)
def test_without_both_rewards_there_are_no_quadrants(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    run, found, _ = packed(tmp_path, varied_groups(2), **sections)
    assert format_reward(run) is None
    assert found.quadrants == {}


def test_a_step_that_was_taken_again_is_there_once(tmp_path: Path) -> None:
    """Files are cut on resume; one that was not shows the later steps."""
    first, again = varied_groups(4), varied_groups(4)
    for each in again:
        for one in each["completions"]:
            one["text"] += " (again)"
    _, found, written = packed(tmp_path, [*first, *again[4:]])
    seen = unpacked(written)
    assert [row["s"] for row in seen] == [step for step in (1, 2, 3, 4) for _ in range(8)]
    assert ["(again)" in row["text"] for row in seen] == [
        step > 2 for step in (1, 2, 3, 4) for _ in range(8)
    ]
    assert found.completions == 32


def test_damaged_lines_are_said_and_a_torn_end_is_not(tmp_path: Path) -> None:
    run, _, _ = packed(tmp_path, varied_groups(2))
    path = run.path / "rollouts.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    deep = '{"step": 2, "prompt": ' + "[" * 100_000 + "\n"
    text = {**json.loads(lines[0]), "completions": "none"}
    bad = ["{\n", "\n", "null\n", json.dumps(text) + "\n", deep, '{"step": 2}\n']
    path.write_text("".join([lines[0], *bad, *lines[1:], lines[0][:40]]))
    with (tmp_path / "again").open("wb") as file:
        found = module.pack(run, 0, file, limit=1000, shown=lambda *_: None)
    assert found.damaged == 5
    assert run.missing == ["rollouts.jsonl: 5 damaged lines are left out"]
    assert {row["s"] for row in unpacked((tmp_path / "again").read_bytes())} == {1, 2}


def test_a_long_run_is_sampled_by_steps_and_a_long_text_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TEXT", 20)
    run, found, written = packed(tmp_path, varied_groups(9), limit=30)
    seen = unpacked(written)
    assert sorted({row["s"] for row in seen}) == [1, 4, 7]
    assert (found.packed, found.completions, found.every) == (24, 72, 3)
    assert all(len(row["text"]) == 20 for row in seen)
    assert set(found.measured) == set(range(1, 10)), "diagnoses see every step"
    assert run.missing == [
        "rollouts.jsonl: 24 of 72 completions are in this page: those of one step in 3",
        "24 texts end after 20 characters in this page",
    ]


def test_none_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    run, found, written = packed(tmp_path, varied_groups(3), limit=0)
    assert (written, found.packed, found.completions) == (b"", 0, 24)
    assert run.missing == ["rollouts.jsonl: 24 completions are counted, and none is in this page"]


def test_odd_values_are_missing(tmp_path: Path) -> None:
    run, _, _ = packed(tmp_path, varied_groups(1))
    path = run.path / "rollouts.jsonl"
    line = rows(path)[0]
    line["completions"][0] |= {"total": float("nan"), "advantage": float("inf")}
    path.write_text(json.dumps(line) + "\n")
    with (tmp_path / "again").open("wb") as file:
        module.pack(run, 0, file, limit=1000, shown=lambda *_: None)
    first = unpacked((tmp_path / "again").read_bytes())[0]
    assert (first["l"], first["a"]) == (None, None)


def test_a_full_disk_is_no_unreadable_run(tmp_path: Path) -> None:
    run, _, _ = packed(tmp_path, varied_groups(1))
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OSError, match="No space"),
    ):
        module.pack(run, 0, full, limit=1000, shown=lambda *_: None)

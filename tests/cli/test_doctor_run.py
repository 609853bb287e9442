"""`grpokit doctor RUN`: real commands on sound runs, faulty ones, and what is no run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from diagnosed_runs import numbered_run, sound_rows, trainer_state, wandb_table
from dists import grpokit
from grpokit.cli.main import main
from saved_runs import completion, group

HOSTILE = "\x1b[2Jhi\u202ereversed\nsecond line..."


def found(capsys: pytest.CaptureFixture[str], path: Path, code: int) -> dict[str, Any]:
    """What the command says as JSON, which ends with this exit code."""
    assert main(["doctor", str(path), "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def cut_off(out: Path) -> Path:
    """A run of forty steps, half of whose completions run into the limit."""
    rows = sound_rows(40, truncated=0.5)
    texts = [HOSTILE, "short", "long answer..."]
    groups = [
        group(step, 7, "4", [completion(i, text, 0.5) for i, text in enumerate(texts)])
        for step in range(1, 41)
    ]
    return numbered_run(out, rows, groups)


def test_a_sound_run_ends_with_0(tmp_path: Path) -> None:
    done = grpokit("doctor", str(numbered_run(tmp_path, sound_rows(40))))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nothing is wrong in these numbers"


def test_a_reason_to_stop_ends_with_8_and_shows_hostile_text_harmlessly(tmp_path: Path) -> None:
    done = grpokit("doctor", str(cut_off(tmp_path)))
    assert done.returncode == 8, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80 + len(str(tmp_path)) + 40
    assert [line for line in lines[2:] if len(line) > 80] == []
    assert "stop: truncation, steps 1 to 40" in lines
    assert "  measured  0.5, threshold 0.3" in lines
    assert "  cost      40 steps, 1280 completions" in lines
    assert "rollout.max_tokens" in done.stdout
    assert "step 40, row 7, sample 0" in done.stdout
    assert "\\x1b[2Jhi\\u202ereversed\\nsecond line" in done.stdout
    assert "\x1b" not in done.stdout
    assert '"short"' not in done.stdout
    assert lines[-1] == "reasons to stop: 1, warnings: 0"


def test_a_warning_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, numbered_run(tmp_path, sound_rows(40, truncated=0.2)), 0)
    assert [each["severity"] for each in told["findings"]] == ["warn"]
    assert told["stop"] is False


def test_json_has_numbers_and_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, cut_off(tmp_path), 8)
    assert (told["format"], told["kind"], told["rows"], told["last_step"]) == (1, "grpokit", 40, 40)
    (one,) = told["findings"]
    assert (one["name"], one["first"], one["last"], one["wasted"]) == ("truncation", 1, 40, 1280)
    assert [sample["text"] for sample in one["samples"]] == [HOSTILE, "long answer..."]


def test_samples_are_of_the_last_step_that_has_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = [
        group(step, 7, "4", [completion(0, "cut..." if step <= 30 else "whole", 0.5)])
        for step in range(1, 41)
    ]
    told = found(capsys, numbered_run(tmp_path, sound_rows(40, truncated=0.5), groups), 8)
    assert [each["step"] for each in told["findings"][0]["samples"]] == [30]


def test_saved_rollouts_tell_of_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = [completion(i, "one and the same", 0.5) for i in range(4)]
    groups = [group(step, 3, "4", same) for step in range(1, 41)]
    told = found(capsys, numbered_run(tmp_path, sound_rows(40), groups), 0)
    (one,) = told["findings"]
    assert (one["name"], one["value"], len(one["samples"])) == ("duplicates", 0.75, 3)


def test_evaluations_and_the_recipes_reward_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe says that `format` counts here: it is what rises, and evaluations do not."""
    rows = [
        {**row, "rewards/format/mean": 0.1 + 0.005 * row["step"], "rewards/number/mean": 0.3}
        for row in sound_rows(120)
    ]
    rewards = [
        {"use": "exact", "name": "format", "weight": 0.9},
        {"use": "exact", "name": "number", "weight": 0.1},
    ]
    folder = numbered_run(tmp_path, rows, rewards=rewards)
    evals = [{"step": step, "accuracy": 0.2} for step in range(20, 121, 20)]
    (folder / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in evals))
    told = found(capsys, folder, 0)
    assert [each["name"] for each in told["findings"]] == ["over-fitting"]
    assert "format" in told["findings"][0]["fact"]


def test_a_trainers_state_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sound_rows(40, truncated=0.5)
    state = trainer_state(tmp_path / "out" / "checkpoint-40", rows)
    trainer_state(tmp_path / "out" / "checkpoint-9", sound_rows(9))
    for path in (state, state.parent, tmp_path / "out"):
        told = found(capsys, path, 8)
        assert (told["kind"], told["rows"]) == ("trl", 40)
        assert [each["name"] for each in told["findings"]] == ["truncation"]
        assert told["findings"][0]["wasted"] is None


def test_a_history_of_wandb_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = found(capsys, wandb_table(tmp_path / "run.csv", sound_rows(40, truncated=0.5)), 8)
    assert (told["kind"], told["rows"], told["last_step"]) == ("trl", 40, 40)
    assert [each["name"] for each in told["findings"]] == ["truncation"]
    rows = sound_rows(6, reward=math.nan)
    told = found(capsys, wandb_table(tmp_path / "nan.csv", rows), 8)
    assert [each["name"] for each in told["findings"]] == ["reward-failures"]


def test_evaluations_in_a_history_of_wandb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["train/global_step,train/reward,eval/reward"]
    for step in range(1, 151):
        lines.append(f"{step},{0.3 + 0.004 * step},")
        lines += [f"{step},,0.4"] if step % 25 == 0 else []
    (tmp_path / "run.csv").write_text("\n".join(lines) + "\n")
    assert [f["name"] for f in found(capsys, tmp_path / "run.csv", 0)["findings"]] == [
        "over-fitting"
    ]


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_trainer_whose_reward_is_nan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float | None
) -> None:
    told = found(capsys, trainer_state(tmp_path, sound_rows(6, reward=value)), 8)
    assert [each["name"] for each in told["findings"]] == ["reward-failures"]


def test_a_line_that_is_being_written_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = numbered_run(tmp_path, sound_rows(3))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "rew')
    assert found(capsys, folder, 0)["rows"] == 3


def test_a_young_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(numbered_run(tmp_path, sound_rows(29)))]) == 0
    assert "Most findings need 30 rows" in capsys.readouterr().out


def test_the_name_of_a_reward_is_hostile_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("rewards/\x1b[2J\nbad/mean", "rewards/\x1b[2J\nbad/std")
    rows = [row | dict.fromkeys(names, 0.0) for row in sound_rows(40, rewards__number__mean=0.3)]
    assert main(["doctor", str(numbered_run(tmp_path, rows))]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "the reward \\x1b[2J\\nbad is 0 for every completion" in out


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    code = "import sys; from grpokit.cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = grpokit("doctor", str(cut_off(tmp_path)), code=code)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


def test_last_is_the_newest_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = numbered_run(tmp_path / "runs", sound_rows(3))
    monkeypatch.chdir(tmp_path)
    assert found(capsys, Path("last"), 0)["source"].endswith(f"{folder.name}/metrics.jsonl")


def damage(name: str, text: str, folder: Path) -> Path:
    path = folder / name
    path.write_text(text)
    return path


BAD = [
    ("metrics.jsonl", '{"step": 1, "reward": 1}\nnonsense\n', 6, ["metrics.jsonl:2:", "restore"]),
    ("metrics.jsonl", '{"step": 1, "reward": 1}\n[]\n', 6, ["metrics.jsonl:2:", "no object"]),
    ("metrics.jsonl", '{"reward": 1}\n', 6, ["metrics.jsonl:1:", "whole number `step`"]),
    ("metrics.jsonl", "", 6, ["no step with a reward"]),
    ("metrics.jsonl", '{"step": ' + "[" * 100_000 + "\n", 6, ["metrics.jsonl:1:"]),
    ("trainer_state.json", "{}", 2, ["no state of a trainer", "log_history"]),
    ("trainer_state.json", "[1]", 2, ["no state of a trainer"]),
    ("trainer_state.json", '{"log_history": [3]}', 2, ["no state of a trainer"]),
    ("trainer_state.json", '{"log_history": []}', 6, ["no step with a reward"]),
    ("run.csv", "", 2, ["no history of a run", "scan_history"]),
    ("run.csv", "a,b\n1,2\n", 2, ["no history of a run", "train/global_step"]),
    ("run.csv", "_step,train/loss\n1,2\n", 6, ["no step with a reward"]),
    ("state.json", "\x00\x01", 2, ["no state of a trainer", "state.json"]),
]


@pytest.mark.parametrize(("name", "text", "code", "words"), BAD)
def test_what_cannot_be_read_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    code: int,
    words: list[str],
) -> None:
    path = damage(name, text, tmp_path)
    assert main(["doctor", str(path)]) == code
    told = capsys.readouterr().err
    assert [word for word in words if word not in told] == []
    assert "Traceback" not in told


def test_a_run_without_steps_and_a_folder_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = numbered_run(tmp_path / "runs", [])
    (folder / "metrics.jsonl").unlink()
    assert main(["doctor", str(folder)]) == 6
    assert "no step with a reward" in capsys.readouterr().err
    assert main(["doctor", str(tmp_path / "runs")]) == 2
    assert "no metrics.jsonl" in capsys.readouterr().err
    assert main(["doctor", str(tmp_path / "nowhere.json")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [["--model", "x"], ["--import"], ["--set", "a=b"], ["--machine", "cpu"]]
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    folder = numbered_run(tmp_path, sound_rows(3))
    assert main(["doctor", str(folder), *more]) == 2
    assert more[0] in capsys.readouterr().err


def test_a_folder_of_the_same_name_does_not_hide_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-such-recipe").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "no-such-recipe"]) == 2
    assert "recipes list" in capsys.readouterr().err

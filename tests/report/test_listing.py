"""``grpokit runs list`` and ``show``: fast, without torch, and no damaged file is an error."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from dists import grpokit
from grpokit.cli.main import main
from grpokit.engine.rundir import RunDir
from grpokit.report.listing import find_runs, read_run
from saved_runs import completion, group, saved_run

GROUPS = [group(step, 0, "a", [completion(0, "a", 1.0, exact=1.0)]) for step in (1, 2)]


def finish(run: Path, step: int) -> None:
    (run / "final").mkdir()
    (run / "final" / "run.json").write_text(json.dumps({"step": step}))


def test_states(tmp_path: Path) -> None:
    run = saved_run(tmp_path, GROUPS)
    assert read_run(run).state == "stopped"
    with RunDir(run):
        assert read_run(run).state == "running"
    assert read_run(run).state == "stopped"
    finish(run, 2)
    assert read_run(run).state == "stopped"  # steps were added to the recipe since
    (run / "final" / "run.json").write_text('{"step": 10}')
    assert read_run(run).state == "complete"
    (run / "recipe.yaml").write_text("a: [")
    assert read_run(run).state == "broken"


def test_looking_takes_no_lock(tmp_path: Path) -> None:
    """A look in the moment of a start must not make the start fail."""
    run = saved_run(tmp_path, GROUPS)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = Path("/proc/locks").read_text()
        read_run(run)
        assert Path("/proc/locks").read_text().count("FLOCK") <= before.count("FLOCK")
    assert read_run(run).state == "stopped"


def test_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (saved_run(tmp_path, GROUPS, name=name) for name in ("old", "new"))
    empty = saved_run(tmp_path, None, name="empty")
    for age, run in ((3000, old), (2000, empty), (1000, new)):
        for path in run.iterdir():
            os.utime(path, (time.time() - age,) * 2)
    (tmp_path / "no-run").mkdir()
    assert [run.recipe for run in find_runs(tmp_path)] == ["new", "empty", "old"]
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(run["recipe"], run["step"], run["steps"], run["reward"]) for run in listed] == [
        ("new", 2, 10, 0.5),
        ("empty", 0, 10, None),
        ("old", 2, 10, 0.5),
    ]
    assert main(["runs", "list", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["run", "recipe", "steps", "state", "reward", "date"]
    assert out[1].split()[:5] == [new.name, "new", "2/10", "stopped", "0.5"]
    assert main(["runs", "list", str(tmp_path / "nothing")]) == 0
    assert "there is no run in" in capsys.readouterr().out


def test_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved_run(tmp_path, GROUPS)
    for name in ("checkpoints/step-000002", "eval/20260101-000000", "rescore/.tmp-1"):
        (run / name).mkdir(parents=True)
    assert main(["runs", "show", str(run)]) == 0
    out = capsys.readouterr().out
    for words in ("stopped, step 2/10", "exact x 1.0", "step-000002", "20260101-000000"):
        assert words in out
    assert "re-scored" not in out
    assert f"grpokit train --resume {run}" in out
    assert main(["runs", "show", str(run), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["last"] == {"step": 2, "reward": 0.5}
    assert data["recipe_values"]["rollout"]["group"] == 8
    assert data["rescored"] == []
    assert main(["runs", "show", str(tmp_path)]) == 2
    assert "this folder is not a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "\x00", "[]", "[" * 500, "[" * 100_000 + "\n", "step: 3", '{"step": "x"}\n']
)
@pytest.mark.parametrize("name", ["recipe.yaml", "plan.json", "metrics.jsonl", "final/run.json"])
def test_damaged_files_are_shown_as_far_as_they_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    run = saved_run(tmp_path, GROUPS)
    finish(run, 10)
    (run / name).write_text(text)
    for command in (["list", str(tmp_path)], ["show", str(run)]):
        for more in ([], ["--json"]):
            assert main(["runs", *command, *more]) == 0
            assert run.name in capsys.readouterr().out


def test_a_small_recipe_that_is_a_huge_value_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = saved_run(tmp_path, GROUPS)
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    lines = [f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in pairs]
    (run / "recipe.yaml").write_text("\n".join(["a: &a [x]", *lines, "model: {id: *i}"]))
    for more in ([], ["--json"]):
        assert main(["runs", "show", str(run), *more]) == 0
        out = capsys.readouterr().out
        assert "broken" in out
        assert len(out) < 1000


def test_what_the_list_has_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that ended between its first two files, and one that failed in a step."""
    run = saved_run(tmp_path, GROUPS)
    (run / "plan.json").unlink()
    (run / "failures.jsonl").write_text("")
    (run / "unfinished.jsonl").write_text("")
    assert read_run(run).state == "stopped"
    assert main(["runs", "show", str(run)]) == 0
    out = capsys.readouterr().out
    assert "failures.jsonl" in out
    assert "unfinished.jsonl" in out
    assert main(["runs", "show", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_only_the_end_of_the_metrics_is_read(tmp_path: Path) -> None:
    run = saved_run(tmp_path, GROUPS)
    with (run / "metrics.jsonl").open("w") as file:
        file.truncate(4 << 30)  # sparse: nobody could read it in time
        file.seek(0, os.SEEK_END)
        file.write('\n{"step": 9, "reward": 0.25}\n{"step": 10, "rew')
    began = time.monotonic()
    found = read_run(run)
    assert time.monotonic() - began < 1
    assert (found.step, found.reward) == (9, 0.25)


def test_a_hostile_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved_run(tmp_path, GROUPS)
    (run / "plan.json").write_text(json.dumps({"name": "\x1b]0;x\x07"}))
    main(["runs", "list", str(tmp_path)])
    assert "\x1b" not in capsys.readouterr().out


def test_without_torch_and_at_once(tmp_path: Path) -> None:
    run = saved_run(tmp_path, GROUPS)
    code = "import sys; from grpokit.cli.main import main; main(sys.argv[1:]); print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'transformers'}))"
    done = grpokit("runs", "list", str(tmp_path), code=code)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    done = grpokit("runs", "show", str(run), code=code)
    assert "torch" not in done.stdout.splitlines()[-1], done.stderr

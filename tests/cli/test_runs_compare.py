"""``grpokit runs compare`` and ``plot`` as a person calls them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from compared_runs import append, compared_run, evaluation, store
from dists import grpokit
from grpokit.cli.main import main
from grpokit.cli.runs_plot_show import HEIGHT, WIDTH, blocks

LINE = "x\x1b]0;evil\x07\u202ename" + "y" * 60


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Two recipes, of one run each, with an evaluation."""
    first = compared_run(tmp_path, "first", steps=30, optim={"lr": 0.1})
    second = compared_run(tmp_path, "second", steps=60, optim={"lr": 0.5}, seconds=1.0)
    store(first, evaluation("0" * 20, label="base", adapter=""), evaluation("1" * 4 + "0" * 16))
    store(second, evaluation("1" * 15 + "0" * 5, adapter="a2"))
    return [str(first), str(second)]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*args: str, code: int = 0, narrow: bool = True) -> str:
        assert main(["runs", *args]) == code
        out, err = capsys.readouterr()
        assert not (out if code else err)
        assert not narrow or all(len(line) <= 80 for line in out.splitlines()), out
        return err if code else out

    return run


def test_two_recipes(pair: list[str], said: Any) -> None:
    out = said("compare", *pair)
    assert out.startswith("run ")
    assert re.search(r"^  optim.lr +A 0.1; B 0.5$", out, re.MULTILINE)
    assert re.search(r"^reward +0.205  0.505$", out, re.MULTILINE)  # steps 11 to 30, 41 to 60
    assert "\nreward 0.280, the highest that all reached, was first reached at\n" in out
    assert "\nA      30          240     960     60.0\n" in out
    assert re.search(r"^30 steps +0.205  0.205$", out, re.MULTILINE)
    assert not re.search(r"^60.0 s ", out, re.MULTILINE)  # both took as long
    assert "\nB - A    +55.0  [" in out
    assert "p by McNemar's exact test; least: the" in out
    assert "1 training run a side" in out
    assert "Holm" not in out


def test_seeds_of_one_recipe_against_another(tmp_path: Path, said: Any) -> None:
    names = []
    for group, lr, rights in (("a", 0.1, (8, 9, 10)), ("b", 0.2, (12, 14, 13))):
        for seed, right in enumerate(rights):
            run = compared_run(tmp_path, f"{group}{seed}", seed=seed, optim={"lr": lr})
            store(run, evaluation("1" * right + "0" * (20 - right), adapter=run.name))
            names.append(str(run))
    out = said("compare", *names)
    assert "A: 3 seeds of one recipe (0, 1, 2)\n" in out
    assert re.search(r"^reward +0.305 \[0.305, 0.305\]  0.305 \[", out, re.MULTILINE)
    assert "Holm's adjustment for 15 comparisons" in out.replace("\n", " ")
    assert "\nrecipe B against recipe A: improved\n" in out
    assert "  accuracy 45.0% (3 training runs) and 65.0% (3 training runs)" in out
    assert "  over training seeds      95% interval [+8.7, +31.3]\n" in out
    assert "  within 20 questions     95% interval [" in out
    assert "* the interval excludes 0, but among so many comparisons" in out
    assert "1 training run" not in out


def test_a_changed_reward_is_the_first_line(tmp_path: Path, said: Any) -> None:
    names = [compared_run(tmp_path, name, source=name) for name in ("aaaa", "bbbb")]
    out = said("compare", *map(str, names))
    assert out.startswith("REWARD CHANGED: the source of reward exact is not the same (A aaaa; B")
    assert "no run has a stored one: grpokit eval RUN --base" in out


def test_a_refused_comparison_lists_the_keys(pair: list[str], said: Any) -> None:
    store(Path(pair[1]), evaluation("1" * 20, sampling={"max_tokens": 40}), name="20260102-000000")
    folder = Path(pair[1]) / "eval" / "20260101-000000"
    for path in folder.iterdir():
        path.unlink()
    out = said("compare", *pair)
    assert "B against A: not compared, they differ in more than the model\n" in out
    assert "  sampling.max_tokens: A 20; B 40\n" in out
    assert "--allow-mismatch" in out
    assert "paired" not in out
    out = said("compare", *pair, "--allow-mismatch")
    assert "B - A    +80.0" in out
    assert "B against A: compared by --allow-mismatch, although more differs than the" in out
    assert "  sampling.max_tokens: A 20; B 40\n" in out


def test_json_has_everything(pair: list[str], said: Any) -> None:
    data = json.loads(said("compare", *pair, "--json", "--metric", "entropy", narrow=False))
    assert [run["label"] for run in data["runs"]] == ["A", "B"]
    assert list(data["curves"]) == ["reward", "entropy"]
    assert data["metrics"]["reward"]["last"]["B"] == pytest.approx(0.505)
    assert data["evaluations"]["pairs"][0]["comparison"]["p_holm"] < 0.01
    assert data["written"] == []


def test_hostile_names_steer_no_terminal(tmp_path: Path, said: Any) -> None:
    names = []
    for number in (1, 2):
        run = compared_run(tmp_path, f"{LINE[:40]}{number}", seed=number, steps=3)
        plan = json.loads((run / "plan.json").read_text())
        plan["environment"] = {LINE: f"{LINE}{number}"}
        plan["components"][1]["source_hash"] = f"{LINE}{number}"
        (run / "plan.json").write_text(json.dumps({**plan, "name": LINE}))
        append(run, json.dumps({"step": 4, "reward": 0.5, LINE: 1.0}) + "\n")
        append(run, json.dumps({"forced": [LINE]}) + "\n", "resumes.jsonl")
        store(run, evaluation("10", label=LINE, model={LINE: number}))
        names.append(str(run))
    for command in (["compare", "--allow-mismatch"], ["plot", "--evals"]):
        out = said(*command, *names, "--metric", LINE, narrow=False)
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_damaged_runs_are_told(tmp_path: Path, said: Any) -> None:
    whole, broken, empty = (compared_run(tmp_path, name, steps=20) for name in "abc")
    (broken / "metrics.jsonl").write_bytes(b'{"step": 1, "reward": 0.5}\n\xff\xfe\n{"step": 2')
    (broken / "plan.json").write_text("{")
    (empty / "metrics.jsonl").unlink()
    (empty / "recipe.yaml").write_text("]")
    out = said("compare", *map(str, (whole, broken, empty)))
    assert "B: 1 damaged line left out" in out
    assert "C: recipe.yaml cannot be read" in out
    assert "C: no step yet" in out
    assert "was first reached" not in out
    assert "training" in said("compare", str(empty), str(broken))


@pytest.mark.parametrize("command", ["compare", "plot"])
def test_mistakes_are_told_at_once(pair: list[str], said: Any, command: str) -> None:
    err = said(command, *pair, pair[0], "nowhere", code=2)
    assert "nowhere: this is no folder of a run" in err
    assert f"{pair[0]}: this is the same run as {pair[0]}" in err
    err = said(command, *pair, "--metric", "rewrd", code=2)
    assert "no run has a number 'rewrd'; did you mean reward?" in err
    assert "there are completions, dead_groups" in err


def test_further_mistakes(pair: list[str], said: Any, tmp_path: Path) -> None:
    assert "one run alone is not compared" in said("compare", pair[0], code=2)
    assert "none of .png, .svg, .pdf" in said("plot", *pair, "--out", "a.jpg", code=2)
    assert "no such folder" in said("plot", *pair, "--out", str(tmp_path / "no/a.svg"), code=6)
    path = Path(pair[0]) / "metrics.jsonl"
    path.write_text('{"step": 1, "reward": 0.5}\n')
    err = said("plot", *pair, "--x", "seconds", code=2)
    assert "no line tells of seconds" in err


def test_a_plot_in_the_terminal(pair: list[str], said: Any) -> None:
    out = said("plot", *pair, "--evals")
    assert "reward over step, mean of 5" in out
    assert "A: lr 0.1, steps 30, seed 1, 0.010 to 0.280" in out
    assert "B: lr 0.5, steps 60, seed 1, 0.010 to 0.580" in out
    drawn = [line for line in out.splitlines() if "│" in line]
    assert len(drawn) == 2 * HEIGHT
    # The first run is half as long, and so is its drawing.
    assert len(drawn[HEIGHT - 1].partition("│")[2]) == WIDTH // 2
    assert len(drawn[-1].partition("│")[2]) == WIDTH
    assert re.search(r"^A +0 +0.0%  +\[0.0%, 16.1%\]  stored$", out, re.MULTILINE)
    assert re.search(r"^B +60 +75.0%", out, re.MULTILINE)


def test_blocks_by_hand() -> None:
    rows = blocks(([0.0, 50.0, 100.0], [0.0, 1.0, 0.5]), (0.0, 1.0), 100.0)
    assert [len(row) for row in rows] == [WIDTH] * HEIGHT
    assert [row[0] for row in rows] == [" ", " ", " ", "▁"]
    assert [row[WIDTH // 2] for row in rows] == ["█"] * 4
    assert [row[-1] for row in rows] == [" ", "▁", "█", "█"]  # 1 + 15.5, to even
    flat = blocks(([1.0], [3.0]), (3.0, 3.0), 1.0)
    assert flat[-1][-1] == "█"


def test_seeds_as_a_band_in_the_terminal(tmp_path: Path, said: Any) -> None:
    names = [str(compared_run(tmp_path, f"a{seed}", seed=seed, steps=9)) for seed in (1, 2)]
    out = said("plot", *names, "--band", "--smooth", "1")
    assert "A: a1, mean of 2 seeds, 0.010 to 0.090" in out
    assert "reward over step\n" in out


def test_without_torch_numpy_and_matplotlib(pair: list[str]) -> None:
    code = (
        "import sys; from grpokit.cli.main import main; code = main(sys.argv[1:]); "
        "print(code, sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'matplotlib'}))"
    )
    for command in ("compare", "plot"):
        done = grpokit("runs", command, *pair, code=code)
        assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_without_matplotlib_a_picture_is_refused(pair: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; import importlib.util as u; "
        "find = u.find_spec; u.find_spec = lambda n, *a: None if n == 'matplotlib' else find(n, *a); "
        "from grpokit.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    target = tmp_path / "a.svg"
    for command in (["compare", "--plot"], ["plot", "--out"]):
        done = grpokit("runs", *command, str(target), *pair, code=code)
        assert done.returncode == 3
        assert "pip install 'grpokit[plot]'" in done.stderr
    assert not target.exists()

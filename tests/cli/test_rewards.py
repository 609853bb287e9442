"""`grpokit rewards`: tables, explained scores, checks with their exit codes; and train's check."""

from __future__ import annotations

import json

import pytest

from grpokit.cli.main import main
from grpokit.cli.train_check import RewardCheck
from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import make_prompt
from grpokit.errors import PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups

HOSTILE = """
grpokit: 1
model: {id: tiny-sums, lora: null}
dataset: {use: jsonl, with: {path: rows.jsonl}}
rewards: [{use: contains}]
rollout: {prompts: 2, group: 4}
"""


def command(capsys, *argv):
    code = main(["rewards", *argv])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_list_and_show(capsys):
    code, out, _ = command(capsys, "list")
    assert code == 0
    assert "number" in out
    assert "0 to 2" in next(line for line in out.splitlines() if "cppo/gsm8k-accuracy" in line)
    code, out, _ = command(capsys, "list", "--json")
    rewards = {each["id"]: each for each in json.loads(out)["rewards"]}
    assert rewards["length"]["pays"] == ["length"]
    code, out, _ = command(capsys, "show", "number")
    assert code == 0
    assert "tolerance" in out
    assert "grpokit rewards check number" in out
    assert command(capsys, "show", "nmber")[0] == 3


def test_try_explains_a_score(capsys):
    code, out, _ = command(capsys, "try", "number", "--completion", "\\boxed{4}", "--answer", "4")
    assert code == 0
    assert "score 1" in out
    code, out, _ = command(
        capsys,
        "try",
        "number",
        "--completion",
        "7",
        "--row",
        '{"answer": 7}',
        "--with",
        "from=[whole]",
    )
    assert "score 1" in out
    code, out, _ = command(
        capsys, "try", "number", "--completion", "x", "--recipe", "quickstart", "--index", "2"
    )
    assert code == 0
    assert "score 0" in out
    assert "question" in out


def test_try_explains_a_failure_and_shows_nothing_hostile(capsys):
    text = "\x1b[31m\\boxed{4}\u202e"
    code, out, _ = command(capsys, "try", "number", "--completion", text, "--answer", "no number")
    assert code == 4
    assert "no score: exception" in out
    assert "gold answer of this row is no number" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    code, out, _ = command(capsys, "try", "number", "--completion", text, "--answer", "4", "--json")
    assert json.loads(out)["outcome"]["value"] == 1.0


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("check", "number", "--rows", "4"), 0),
        (("check", "contains", "--rows", "2"), 1),
        (("check", "format"), 2),
        (("check", "format", "--with", "boxed=true", "--rows", "2"), 0),
        (("check", "no-such-reward"), 2),
        (("check", "number", "--recipe", "no-such-recipe"), 2),
        (("check", "exact", "--rows", "2"), 0),
        (("check", "exact", "--rows", "2", "--strict"), 3),
    ],
)
def test_exit_codes_of_check(capsys, argv, code):
    assert command(capsys, *argv)[0] == code


def test_check_of_a_recipe_shows_the_board(capsys):
    code, out, _ = command(capsys, "check", "quickstart", "--rows", "4")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "the right answer                   ####################    100%" in out
    assert "form alone    10% of what a right answer earns" in out
    assert "64 completions" in out
    code, out, _ = command(capsys, "check", "quickstart", "--rows", "2", "--json")
    data = json.loads(out)
    assert data["way"] == "boxed"
    assert {each["name"] for each in data["rewards"]} == {"number", "format"}


def test_a_declared_wrapper_and_hostile_rows(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile.yaml").write_text(HOSTILE)
    rows = [{"question": f"\x1b]0;x\x07 [/INST] {k}?", "answer": f"a{k}\x1b[2J"} for k in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = command(
        capsys, "check", "hostile.yaml", "--open", "<<", "--close", ">>", "--before", "So: "
    )
    assert code == 1
    assert "\x1b" not in out
    assert "\\x1b" in out
    assert "(the answer written as: as given)" in out
    assert "<<" in out


def checked(recipe, *, skip=False, rows=4):
    catalog = Catalog.load()
    loaded = load_recipe("bench-sums", overrides=recipe, catalog=catalog).recipe
    check = RewardCheck(loaded, skip=skip)
    prompts = [
        make_prompt(loaded.prompt, {"question": f"{k} + 2", "answer": str(k + 2)}, k)
        for k in range(rows)
    ]
    with Scorer(setups(catalog, loaded.rewards)) as scorer:
        check(scorer, prompts)
    return check


CONTAINS = ("rewards.0.use=contains", "eval.correct=contains")


def test_train_lets_good_rewards_pass():
    check = checked(())
    check.settle("bench-sums")
    record = check.record()
    assert record["checked"]
    assert record["seconds"] < 10
    assert not [found for found in record["findings"] if found["severity"] == "critical"]


def test_train_stops_on_critical_findings():
    check = checked(CONTAINS)
    with pytest.raises(PreflightError, match="--skip-reward-check") as error:
        check.settle("bench-sums")
    assert any("spray.or" in line for line in error.value.problems)


def test_train_that_skips_the_check_says_so(capsys):
    check = checked(CONTAINS, skip=True)
    check.settle("bench-sums")
    assert "not checked" in capsys.readouterr().err
    assert check.record() == {"format": 1, "skipped": True, "checked": False, "problem": ""}


def test_the_command_train_obeys(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change = [part for item in CONTAINS for part in ("--set", item)]
    assert main(["train", "bench-sums", "--plain", *change]) == 3
    assert "spray.or" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()

"""`grpokit rewards`: tables, explained scores, checks with their exit codes; and train's check."""

from __future__ import annotations

import io
import json

import pytest

from grpokit.cli.main import main
from grpokit.cli.train_check import RewardCheck, check_command, concerns
from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import make_prompt
from grpokit.errors import PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups

KEYS = {
    *("format", "target", "verdict", "rewards", "findings", "strategies", "way", "rows", "probes"),
    *("completions", "right", "wrong", "silent", "format_share", "floor", "length_right"),
    *("length_wrong", "false_accepts", "wrong_tried", "false_rejects", "right_tried"),
    *("seconds_per_completion", "step_completions", "seconds_per_step", "seconds"),
    *("missed", "notes", "short"),
}
FINDING = {
    *("id", "family", "severity", "subject", "fact", "fix", "completion", "row", "share"),
    *("violations", "tried", "scores"),
}
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


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("from=whole", '`with.from`: "whole" has the wrong type; it must be a list'),
        ("from=[hole]", "did you mean `whole`?"),
        ("frm=[whole]", "`with` has no key `frm`"),
    ],
)
def test_wrong_settings_are_told_as_in_a_recipe(capsys, setting, told):
    argv = ("try", "number", "--completion", "7", "--answer", "7", "--with", setting)
    code, out, err = command(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.startswith("--with fr")
    assert told in err


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
    ("argv", "told"),
    [
        (("try", "number", "--answer", "4"), "--file FILE (- is standard input)"),
        (("try", "number", "--completion", "4", "--index", "3"), "name one with --recipe"),
        (("try", "number", "--completion", "4", "--row", "{answer: 4}"), "write '{"),
        (("check", "number", "--set", "a=1"), "use --with"),
        (("check", "quickstart", "--with", "a=1"), "use --set"),
        (("check", "quickstart", "--recipe", "bench-sums"), "--recipe is for a reward"),
        (("check", "number", "--close", "}"), "--before and --close go with --open"),
        (("check", "nmber"), "no reward and no recipe named `nmber`; did you mean 'number'"),
        (("check", "no-such-thing-at-all"), "`grpokit recipes list`"),
    ],
)
def test_what_would_be_ignored_or_is_unknown_is_refused(capsys, argv, told):
    code, out, error = command(capsys, *argv)
    assert (code, out) == (2, "")
    assert told in error
    assert "Traceback" not in error


def test_try_says_what_would_have_earned_more(capsys):
    _, out, _ = command(capsys, "try", "number", "--completion", "4", "--answer", "4")
    assert "the right answer earns 1, a wrong one 0, written as" in out
    assert "The answer is \\boxed{4}." in out
    _, out, _ = command(
        capsys, "try", "number", "--completion", "\\boxed{4}", "--answer", "4", "--json"
    )
    data = json.loads(out)
    assert data["beside"]["way"] == "boxed"
    assert data["completion"] == "\\boxed{4}"
    _, out, _ = command(
        capsys,
        *("try", "math/accuracy", "--completion", "so #### 5", "--answer", "5"),
        *("--with", "extract=[boxed, hash]"),
    )
    assert "extract/hash         1" in out
    assert "extract/boxed        0" in out
    assert "note: hash: '5' for '5', text" in out


def test_try_reads_standard_input(capsys, monkeypatch):
    given = io.TextIOWrapper(io.BytesIO(b"It is \\boxed{4}, \xff\xfe."))
    monkeypatch.setattr("sys.stdin", given)
    code, out, _ = command(capsys, "try", "number", "--file", "-", "--answer", "4")
    assert code == 0
    assert "score 1" in out


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
    assert data.keys() == KEYS
    assert data["findings"][0].keys() == FINDING if data["findings"] else True
    assert (data["format"], data["target"], data["verdict"]) == (1, "quickstart", "clean")
    assert data["way"] == "boxed"
    assert {each["name"] for each in data["rewards"]} == {"number", "format"}


def test_a_check_that_judged_nothing_does_not_say_more(capsys):
    code, out, _ = command(capsys, "check", "rewards-intrinsic/self-certainty", "--rows", "1")
    assert code == 0
    assert out.splitlines()[-1] == "clean, as far as promises go: nothing here reads the answer"
    assert "was made up" in out
    assert " model " in next(line for line in out.splitlines() if line.startswith("self-certainty"))


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


def checked(recipe, *, skip=False, rows=4, row=()):
    catalog = Catalog.load()
    loaded = load_recipe("bench-sums", overrides=recipe, catalog=catalog).recipe
    check = RewardCheck(loaded, skip=skip)
    prompts = [
        make_prompt(loaded.prompt, {"question": f"{k} + 2", "answer": str(k + 2), **dict(row)}, k)
        for k in range(rows)
    ]
    with Scorer(setups(catalog, loaded.rewards), isolate=loaded.scoring.isolate) as scorer:
        check(scorer, prompts)
    return check


CONTAINS = ("rewards.0.use=contains", "eval.correct=contains")


def test_train_lets_good_rewards_pass():
    check = checked(())
    check.settle("grpokit rewards check bench-sums")
    record = check.record()
    assert record["checked"]
    assert record["seconds"] < 10
    assert not [found for found in record["findings"] if found["severity"] == "critical"]


def test_train_stops_on_critical_findings():
    check = checked(CONTAINS)
    with pytest.raises(PreflightError, match="--skip-reward-check") as error:
        check.settle("grpokit rewards check bench-sums")
    assert any("spray.or" in line for line in error.value.problems)


def test_a_run_that_stops_says_how_to_see_more():
    words = check_command("my recipe.yaml", ["a.b=[1, 2]"], foreign=True)
    told = "grpokit rewards check 'my recipe.yaml' --set 'a.b=[1, 2]' --allow-foreign-rewards"
    assert words == told
    with pytest.raises(PreflightError) as error:
        checked(CONTAINS).settle(words)
    assert words in error.value.remedy
    *shown, rest = error.value.problems
    assert len(shown) == 5
    assert rest.startswith("... and ")
    assert all(len(line) <= 80 for text in shown for line in text.splitlines())
    assert all("-> " in text for text in shown)


@pytest.mark.parametrize("isolate", ["true", "false"])
def test_train_says_that_the_check_could_not_run(capsys, isolate):
    check = checked((*CONTAINS, f"scoring.isolate={isolate}"), row={"answer": object()})
    check.settle("grpokit rewards check x")
    assert check.record()["checked"] is False
    assert "the rewards were not checked: " in capsys.readouterr().err


def test_train_says_what_time_did_not_suffice_for(capsys, monkeypatch):
    monkeypatch.setattr("grpokit.cli.train_check.SECONDS", 0.0)
    check = checked(())
    check.settle("grpokit rewards check x")
    assert "probes were not tried in 0 s; grpokit rewards check x tries all" in (
        capsys.readouterr().err
    )
    assert check.record()["missed"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rewards: the run has 1, asked for is 2", True),
        ("reward number number: the run has grpokit 0.1.0 (a), installed is nothing", True),
        ("scoring.timeout: the run has 1, asked for is 2", True),
        ("prompt.use: the run has 1, asked for is 2", True),
        ("dataset.with: the run has 1, asked for is 2", True),
        ("data set content: the run has a, installed is b", True),
        ("train.steps: the run has 1, asked for is 2", False),
        ("backend hf: the run has a, installed is b", False),
    ],
)
def test_a_resumed_run_is_checked_again_if_its_rewards_may_be_others(line, expected):
    assert concerns([line]) == expected


def test_train_that_skips_the_check_says_so(capsys):
    check = checked(CONTAINS, skip=True)
    check.settle("grpokit rewards check bench-sums")
    assert "not checked" in capsys.readouterr().err
    assert check.record() == {"format": 1, "skipped": True, "checked": False, "problem": ""}


def test_the_command_train_obeys(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change = [part for item in CONTAINS for part in ("--set", item)]
    assert main(["train", "bench-sums", "--plain", *change]) == 3
    assert "spray.or" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()

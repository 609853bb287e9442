"""``grpokit runs rescore`` on rollouts whose comparison was worked out by hand."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dists import grpokit, install
from grpokit.cli.main import main
from grpokit.rescore.gates import GATES
from saved_runs import completion, group, rows, saved_run

REWARDS = [
    {"use": "exact", "name": "acc"},
    {"use": "length", "weight": 0.5, "name": "len", "with": {"max": 9}},
]
HOOKS = """
from grpokit.api import RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    names = ("wants", "sick", "cut", "talk", "dead", "broke")
    return [RewardSpec(name=name, summary="", target=f"grpokit_trial.code:{name}") for name in names]
"""
CODE = """
import os

from grpokit.api import RewardError

def wants(completion, answer, domain):
    return float(domain == "maths")

def sick(completion):
    if completion == "c":
        raise ValueError("no \\x1b[31mc")
    return None if completion == "d" else 1.0

def dead(completion):
    if completion != "a":
        os._exit(5)
    return 1.0

def broke(completion):
    raise RewardError("the money is spent", remedy="raise max_cost")

def cut(completion, finish, truncated, tokens):
    return tokens + (100 if truncated and finish == "length" else 0)

def talk(completion, prompt, messages):
    return float(prompt == messages[-1]["content"] and int(prompt.split()[-1]))
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    install(folder, "grpokit-trial", HOOKS, version="0.3", files={"code.py": CODE})
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two groups: acc and len, weights 1 and 0.5; advantages are r - group mean."""
    first = group(
        1,
        0,
        "7",
        [
            completion(0, "7", 1.5, 1.0, acc=1.0, len=1.0),
            completion(1, "it is 7", 0.5, 0.0, acc=0.0, len=1.0),
            completion(2, "8", 0.0, -0.5, acc=0.0, len=0.0),
            completion(3, "nine...", 0.0, -0.5, acc=0.0, len=None),
        ],
    )
    second = group(
        2,
        1,
        "a",
        [
            completion(0, "b a", 0.0, -0.5, acc=0.0, len=0.0),
            completion(1, "a", 1.0, 0.5, acc=1.0, len=0.0),
            completion(2, "c", None, 0.0, {"acc": "raised"}, acc=None, len=0.0),
            completion(3, "d", 0.5, 0.0, acc=None, len=1.0),
        ],
    )
    return saved_run(tmp_path / "runs", [first, second], rewards=REWARDS)


@dataclass
class Command:
    """``grpokit runs rescore RUN ...`` in this process; the rewards have their own all the same."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, run: Path, *args: str, code: int = 0) -> tuple[str, str]:
        found = main(["runs", "rescore", str(run), *args])
        out, err = self.capsys.readouterr()
        assert found == code, err
        assert "Traceback" not in err
        return out, err

    def data(self, run: Path, *args: str) -> dict[str, Any]:
        return dict(json.loads(self(run, *args, "--json")[0]))

    def refused(self, run: Path, *args: str, code: int) -> str:
        return self(run, *args, code=code)[1]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_one_reward_in_the_place_of_another(command: Command, run: Path) -> None:
    summary = command.data(run, "--reward", "contains", "--against", "acc")
    pair, total = summary["comparisons"]
    assert (summary["completions"], summary["groups"], summary["steps"]) == (8, 2, [1, 2])
    assert pair["old"] == {"name": "acc", "errors": 1 / 8, "abstained": 1 / 8, "mean": 2 / 6}
    assert pair["new"] == {"name": "contains", "errors": 0, "abstained": 0, "mean": 4 / 6}
    assert pair["scored_by_both"] == 6
    assert pair["mean_change"] == pytest.approx(1 / 3)
    assert pair["flips"] == {
        "right_right": 2,
        "right_wrong": 0,
        "wrong_right": 2,
        "wrong_wrong": 2,
        "share": 2 / 6,
    }
    assert pair["overall"]["kendall"] == pytest.approx(0.5)  # 4 / sqrt(4 * 2 * 2 * 4)
    assert pair["overall"]["spearman"] == pytest.approx(0.5)
    assert pair["within_groups"] == {
        "kendall": pytest.approx(1 / math.sqrt(3)),
        "spearman": pytest.approx(1 / math.sqrt(3)),
        "groups": 1,
        "only_old_varies": 1,
        "only_new_varies": 0,
        "neither_varies": 0,
    }
    assert total["old"]["mean"] == pytest.approx(3.5 / 7)
    assert total["new"]["mean"] == pytest.approx(5.5 / 7)
    told = [(d["index"], d["sample"], d["old"], d["new"], d["flip"]) for d in pair["disagreements"]]
    assert told == [(0, 1, 0.0, 1.0, True), (1, 0, 0.0, 1.0, True)]
    assert pair["disagreements"][0]["completion"] == "it is 7"
    found = summary["advantages"]
    assert found["advantage"] == "r - group mean"
    assert found["advantage_is_the_runs"]
    shares = {key: found[key] for key in ("reversed", "gained", "lost", "share")}
    assert shares == {"reversed": 1 / 8, "gained": 3 / 8, "lost": 0, "share": 4 / 8}

    folder = Path(summary["folder"])
    assert folder.parent == run / "rescore"
    assert names(folder) == ["rows.jsonl", "summary.json"]
    assert json.loads((folder / "summary.json").read_text()) == {
        key: value for key, value in summary.items() if key != "folder"
    }
    one, two = rows(folder / "rows.jsonl")
    assert [each["new_total"] for each in one["completions"]] == [1.5, 1.5, 0.0, 0.0]
    assert [each["new_total"] for each in two["completions"]] == [1.0, 1.0, 0.0, 0.5]
    assert [each["old_total"] for each in two["completions"]] == [0.0, 1.0, None, 0.5]
    assert [each["rewards"] for each in two["completions"]][:2] == [{"contains": 1.0}] * 2


def test_weight_and_total(command: Command, run: Path) -> None:
    summary = command.data(run, "--reward", "contains", "--against", "total", "--weight", "-2")
    row = rows(Path(summary["folder"]) / "rows.jsonl")[0]
    assert [each["new_total"] for each in row["completions"]] == [-2.0, -2.0, 0.0, 0.0]
    assert summary["comparisons"][0]["old"]["name"] == "total"


def test_the_same_reward_changes_nothing(command: Command, run: Path) -> None:
    """Without --against it is the saved reward that the recipe names as correct, else the heaviest."""
    summary = command.data(run, "--reward", "exact", "--gate", "flips=0", "--gate", "kendall=1")
    pair = summary["comparisons"][0]
    assert pair["old"]["name"] == "acc"
    assert pair["changed"] == pair["mean_absolute_change"] == pair["flips"]["share"] == 0
    assert pair["disagreements"] == []


def test_equal_scores_give_equal_totals_to_the_last_bit(command: Command, tmp_path: Path) -> None:
    """0.1 + 0.2 + 0.3 is another float than 0.2 + 0.3 + 0.1."""
    use = [
        {"use": "exact", "weight": 0.1},
        {"use": "length", "weight": 0.2, "with": {"max": 9}},
        {"use": "contains", "weight": 0.3},
    ]
    scores = {"exact": 1.0, "length": 1.0, "contains": 1.0}
    total = 0.1 * 1.0 + 0.2 * 1.0 + 0.3 * 1.0
    run = saved_run(
        tmp_path, [group(1, 0, "a", [completion(0, "a", total, **scores)])], rewards=use
    )
    found = command.data(run, "--reward", "exact")
    assert [each["changed"] for each in found["comparisons"]] == [0, 0]
    assert found["totals_that_are_no_sum"] == 0


def test_totals_of_other_weights_are_counted_and_told(command: Command, run: Path) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("weight: 0.5", "weight: 0.25"))
    assert command.data(run, "--reward", "exact")["totals_that_are_no_sum"] == 3
    out, _ = command(run, "--reward", "exact")
    assert "3 saved totals are not the weighted sum of their saved scores" in out


def test_settings_are_those_of_the_run_unless_given(command: Command, tmp_path: Path) -> None:
    use = {"use": "contains", "with": {"text": "b"}, "weight": 3.0}
    texts = [("A", 0.0, -1.5), ("b", 1.0, 1.5)]
    drawn = [completion(n, t, 3 * v, a, contains=v) for n, (t, v, a) in enumerate(texts)]
    run = saved_run(tmp_path, [group(1, 0, "a", drawn)], rewards=[use])
    found = command.data(run, "--reward", "contains")
    assert found["rewards"][0]["settings"] == {"text": "b"}
    assert found["rewards"][0]["weight"] == 3.0
    assert found["comparisons"][0]["changed"] == 0
    changed = ("--with", "text=a", "--with", "ignore_case=true")
    found = command.data(run, "--reward", "contains", *changed)
    assert found["rewards"][0]["settings"] == {"text": "a", "ignore_case": True}
    assert found["comparisons"][0]["flips"]["share"] == 1
    assert found["advantages"]["reversed"] == 1
    assert command.data(run, "--reward", "exact")["rewards"][0]["settings"] == {}
    found = command.data(run, "--reward", "contains", "--against", "total")
    assert found["rewards"][0]["settings"] == {"text": "b"}
    out, _ = command(run, "--reward", "contains")
    assert "2 completions of 1 group, step 1\ncontains (grpokit " in out
    assert '), {"text": "b"}, weight 3, in the place of contains' in out


def test_a_whole_recipe(command: Command, run: Path, tmp_path: Path) -> None:
    recipe = (run / "recipe.yaml").read_text().replace("weight: 0.5", "weight: 0.0")
    (tmp_path / "other.yaml").write_text(recipe)
    summary = command.data(run, "--recipe", str(tmp_path / "other.yaml"))
    names = [(c["old"]["name"], c["new"]["name"]) for c in summary["comparisons"]]
    assert names == [("total", "total"), ("acc", "acc"), ("len", "len")]
    row = rows(Path(summary["folder"]) / "rows.jsonl")[0]
    assert [each["new_total"] for each in row["completions"]] == [1.0, 0.0, 0.0, 0.0]


def test_failures_and_abstentions_are_counted_and_no_zeros(
    command: Command, run: Path, plugins: Path
) -> None:
    summary = command.data(run, "--reward", "sick", "--against", "acc")
    pair = summary["comparisons"][0]
    assert pair["new"] == {"name": "sick", "errors": 1 / 8, "abstained": 1 / 8, "mean": 1.0}
    told = summary["failures"]["sick"]
    assert told["count"] == 1
    assert told["kinds"] == {"exception": 1}
    assert told["plugin"] == "trial/sick (grpokit-trial 0.3)"
    row = rows(Path(summary["folder"]) / "rows.jsonl")[1]
    assert [each["new_total"] for each in row["completions"]] == [1.0, 1.0, None, 0.5]
    out, _ = command(run, "--reward", "sick")
    assert "\x1b" not in out
    assert "sick of trial/sick (grpokit-trial 0.3) failed 1 time, first: raised" in out


def test_a_reward_that_always_fails_is_given_up(
    command: Command, tmp_path: Path, plugins: Path
) -> None:
    def steps(*texts: str) -> Path:
        drawn = [[completion(0, text, 0.0, exact=0.0)] for text in texts]
        groups = [group(n, n, "a", each) for n, each in enumerate(drawn, 1)]
        return saved_run(tmp_path, groups)

    told = command.refused(steps("b", "b", "b", "a"), "--reward", "dead", code=4)
    assert "reward dead of trial/dead (grpokit-trial 0.3), data set row 3, completion 0" in told
    assert "no completion was scored in 3 steps in a row: its process ended with exit" in told
    alive = steps("b", "b", "a", "b", "b")
    assert command.data(alive, "--reward", "dead")["failures"]["dead"]["count"] == 4


def test_a_reward_may_end_the_comparison(command: Command, run: Path, plugins: Path) -> None:
    told = command.refused(run, "--reward", "broke", code=4)
    assert "the money is spent" in told
    assert "raise max_cost" in told
    assert names(run / "rescore") == []


def test_what_the_rewards_see_is_what_they_saw(command: Command, run: Path, plugins: Path) -> None:
    summary = command.data(run, "--reward", "cut")
    first = rows(Path(summary["folder"]) / "rows.jsonl")[0]["completions"]
    assert [each["rewards"]["cut"] for each in first] == [1.0, 7.0, 1.0, 107.0]
    summary = command.data(run, "--reward", "talk")
    both = rows(Path(summary["folder"]) / "rows.jsonl")
    assert [each["completions"][0]["rewards"]["talk"] for each in both] == [0.0, 1.0]


def test_a_column_that_was_not_saved_is_a_sentence(
    command: Command, run: Path, plugins: Path
) -> None:
    told = command.refused(run, "--reward", "wants", code=3)
    assert "the reward wants of trial/wants (grpokit-trial 0.3) asks for 'domain'" in told
    assert "the rows have answer" in told
    assert "--dataset" in told
    assert names(run / "rescore") == []


def test_the_data_set_gives_the_columns_and_must_be_the_same(
    command: Command, tmp_path: Path, plugins: Path
) -> None:
    from grpokit.compose.prompts import make_prompt
    from grpokit.spec.recipe import PromptSection

    data = [{"question": f"q{n}", "answer": "a", "domain": ["maths", "law"][n]} for n in range(2)]
    section = {"use": "inline", "with": {"rows": data}}
    groups = [group(1, n, "a", [completion(0, "x", 0.0, exact=0.0)]) for n in (1, 0)]
    for each in groups:
        index = each["prompt"]["index"]
        each["prompt"]["id"] = make_prompt(PromptSection(), data[index], index).id + "#2"
    run = saved_run(tmp_path, groups, dataset=section)
    summary = command.data(run, "--reward", "wants", "--dataset")
    found = rows(Path(summary["folder"]) / "rows.jsonl")
    assert [row["completions"][0]["rewards"]["wants"] for row in found] == [0.0, 1.0]
    for change in ({"id": "0123456789abcdef"}, {"index": 7}):
        groups[1]["prompt"] |= change
        other = saved_run(tmp_path, groups, dataset=section)
        told = command.refused(other, "--reward", "wants", "--dataset", code=3)
        assert "the data set has another question or answer there" in told


def test_a_gate_ends_with_code_4_and_says_all(command: Command, run: Path) -> None:
    limits = ("sign-changes=0.4", "flips=0.5", "spearman=0.9", "errors=0")
    done = grpokit(
        "runs",
        "rescore",
        str(run),
        "--reward",
        "contains",
        *(f"--gate={limit}" for limit in limits),
    )
    assert done.returncode == 4
    assert "sign-changes is 0.5, more than 0.4" in done.stderr
    assert "spearman is 0.5, less than 0.9" in done.stderr
    assert "flips" not in done.stderr
    assert "errors" not in done.stderr
    assert "written to" in done.stdout  # what was found is there all the same
    constant = ("--reward", "contains", "--with", "text=nowhere", "--gate", "kendall=-1")
    assert "kendall cannot be computed" in command.refused(run, *constant, code=4)


@pytest.mark.parametrize(
    ("reward", "name", "value"),
    [
        ("contains", "sign-changes", 4 / 8),
        ("contains", "flips", 2 / 6),
        ("contains", "changed", 2 / 6),
        ("contains", "mean-change", 2 / 6),
        ("sick", "errors", 1 / 8),
        ("sick", "abstained", 1 / 8),
        ("contains", "kendall", 0.5),
        ("contains", "spearman", 0.5),
    ],
)
def test_each_gate_keeps_its_limit(
    command: Command, run: Path, plugins: Path, reward: str, name: str, value: float
) -> None:
    step = -1e-9 if GATES[name][1] else 1e-9
    command(run, "--reward", reward, "--against", "acc", "--gate", f"{name}={value + step!r}")
    broken = ("--against", "acc", "--gate", f"{name}={value - step!r}")
    assert f"{name} is {value:.4g}, " in command.refused(run, "--reward", reward, *broken, code=4)


def test_a_recipe_has_no_flips(command: Command, run: Path) -> None:
    told = command.refused(run, "--recipe", str(run / "recipe.yaml"), "--gate", "flips=0.1", code=4)
    assert "flips cannot be computed: totals have no right and wrong, so it needs --reward" in told


def test_mistakes_are_sentences(command: Command, run: Path, tmp_path: Path) -> None:
    said = {
        (): "name the new reward",
        ("--reward", "exact", "--recipe", "x"): "name the new reward",
        ("--recipe", "quickstart", "--weight", "1"): "belong to --reward",
        ("--reward", "exact", "--against", "nobody"): "the run has no reward 'nobody'",
        ("--reward", "exact", "--gate", "speed=1"): "'speed=1' is no gate",
        ("--reward", "exact", "--gate", "flips=nan"): "'flips=nan' is no gate",
        ("--reward", "exact", "--gate", "flips=5"): "'flips=5' is no limit of flips",
        ("--reward", "exact", "--gate", "changed=-1"): "'changed=-1' is no limit of changed",
        ("--reward", "exact", "--gate", "kendall=1.1"): "write a number from -1 to 1",
        ("--reward", "exact", "--weight", "nan"): "nan is no number",
        ("--reward", "exact", "--right", "inf"): "inf is no number",
        ("--reward", "exact", "--with", "x"): "'x' is not KEY=VALUE",
        ("--reward", "exact", "--with", "frm=3"): "`with` has no key `frm`",
    }
    for args, words in said.items():
        told = command.refused(run, *args, code=2)
        assert words in told, args
    assert "'exacct'" in command.refused(run, "--reward", "exacct", code=3)
    nothing = saved_run(tmp_path / "more", None, train={"steps": 1, "save_rollouts": False})
    assert "the run saved no rollouts" in command.refused(nothing, "--reward", "exact", code=3)
    (nothing / "rollouts.jsonl").write_text('{"step": 1, "pro')
    assert "holds no rollout yet" in command.refused(nothing, "--reward", "exact", code=3)


@pytest.mark.parametrize(
    "damage", ["[]", '{"step": 1}', "{", "\x00", "[" * 100_000, '{"step": 1, "prompt": 3}']
)
def test_a_damaged_line_is_named(command: Command, run: Path, damage: str) -> None:
    with (run / "rollouts.jsonl").open("a") as file:
        file.write(damage + "\n")
    told = command.refused(run, "--reward", "exact", code=6)
    assert "rollouts.jsonl:3: this line is no saved group" in told
    assert len(told) < 1000
    assert names(run / "rescore") == []


def test_a_line_that_is_being_written_is_left_out(command: Command, run: Path) -> None:
    with (run / "rollouts.jsonl").open("a") as file:
        file.write('{"step": 3, "prompt"')
    assert command.data(run, "--reward", "exact")["completions"] == 8


def test_hostile_completions_do_not_steer_the_terminal(command: Command, tmp_path: Path) -> None:
    text = "\x1b]0;owned\x07 [red]x[/red] \u202e \ud800 a\nb"
    run = saved_run(tmp_path, [group(1, 0, "a", [completion(0, text, 0.0, exact=0.0)])])
    out, _ = command(run, "--reward", "contains")
    assert "\\x1b]0;owned\\x07 [red]x[/red] \\u202e \\ud800 a\\nb" in out
    assert "\x1b" not in out


def test_a_folder_that_cannot_be_written(command: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = command.refused(run, "--reward", "exact", "--out", str(tmp_path / "file"), code=6)
    assert "cannot be written" in told
    assert "--out" in told
    summary = command.data(run, "--reward", "exact", "--out", str(tmp_path / "elsewhere"))
    assert Path(summary["folder"]).parent == tmp_path / "elsewhere"
    assert not (run / "rescore").exists()


def test_in_a_process_of_its_own(run: Path, tmp_path: Path) -> None:
    install(tmp_path / "site", "grpokit-trial", HOOKS, version="0.3", files={"code.py": CODE})
    done = grpokit("runs", "rescore", str(run), "--reward", "sick", path=tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "8 completions of 2 groups, steps 1 to 2" in done.stdout
    assert (
        "by r - group mean,\n  which gives the run's saved advantages in all 2 groups"
        in done.stdout
    )
    code = "import sys; from grpokit.cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = grpokit("runs", "rescore", str(run), "--reward", "exact", code=code)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_page_lists_the_gates() -> None:
    page = (Path(__file__).parents[2] / "docs/howto-rescore.md").read_text("utf-8")
    table = page.partition("<!-- gates -->")[2].partition("\n\n")[0]
    told = re.findall(r"^\| `([^`]+)` \| at (most|least) \| (.+) \|$", table, re.MULTILINE)
    expected = [(name, "least" if low else "most", what) for name, (_, low, what) in GATES.items()]
    assert told == expected

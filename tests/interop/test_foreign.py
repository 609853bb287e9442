"""Functions of other trainers as rewards of ours, in the worker processes of a run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import ValidationError

from dists import grpokit
from exported import ROOT, python
from foreign_loaders import ABSENT
from grpokit.errors import ComponentError
from grpokit.interop.rewards import Rewards
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from grpokit.spec.recipe import RewardSection

TRL = """
print("a file may print")

def chat(completions, prompts, answer, trainer_state, log_metric, **columns):
    assert trainer_state is None
    log_metric("seen", 1.0)
    assert sorted(columns) == ["environments", "level", "log_extra", "question"], sorted(columns)
    assert [p[-1]["content"] for p in prompts] == ["q0", "q0", "q1", "q1"][: len(prompts)] or len(prompts) == 1
    found = []
    for completion, gold in zip(completions, answer):
        text = completion[0]["content"]
        found.append(None if text == "skip" else float(text == gold))
    return found

def lengths(completions, prompts, *, weight=2.0):
    return [weight * len(c) + 0.5 * len(p) for c, p in zip(completions, prompts)]

def fails(completions):
    if "bad" in completions:
        raise ValueError("cannot read bad")
    return [0.25] * len(completions)

def short(completions, **kwargs):
    return [1.0]

def not_finite(completions, **kwargs):
    return [float("nan")] * len(completions)

async def later(completions, answer):
    import asyncio
    await asyncio.sleep(0.01)
    return [float(c == a) for c, a in zip(completions, answer)]

class Judge:
    __name__ = "judge"
    def __call__(self, completions, answer):
        return [0.5 for _ in completions]

judge = Judge()

def tokens(completions, completion_ids):
    return [0.0 for _ in completions]

def hangs(completions):
    if "bad" in completions:
        while True:
            pass
    return [1.0] * len(completions)

def exits(completions):
    if "bad" in completions:
        import os
        os._exit(3)
    return [1.0] * len(completions)
"""
VERL = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, bonus=0.0, **kwargs):
    if solution_str == "bad":
        raise ValueError("cannot read bad")
    if solution_str == "none":
        return None
    if solution_str == "hollow":
        return {"acc": 1.0}
    assert extra_info["level"] == 1
    right = solution_str == ground_truth
    return {"score": right + bonus, "acc": right, "pred": solution_str, "none": float("nan"),
            "source": float(data_source == "sums")}

async def bare(solution_str, ground_truth):
    return solution_str == ground_truth

class Scorer:
    async def __call__(self, solution_str, ground_truth):
        return {"score": float(solution_str == ground_truth), "acc": 1.0}

asked_later = Scorer()
"""
ROWS = [
    {"question": "q0", "answer": "7", "level": 1},
    {"question": "q1", "answer": "8", "level": 1},
]
TALK = [[{"role": "system", "content": "s"}, {"role": "user", "content": f"q{n}"}] for n in (0, 1)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(TRL)
    (tmp_path / "scores.py").write_text(VERL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scored(use, *texts, isolate=True, timeout=10.0, **settings):
    """All that the reward says about four texts, two for each row."""
    section = RewardSection.model_validate({"use": use, "with": settings, "name": "it"})
    found = setups(Catalog((), foreign_rewards=True), [section])
    with Scorer(found, timeout=timeout, isolate=isolate) as scorer:
        got = scorer.score_texts(ROWS, [texts[:2], texts[2:]], messages=TALK)
    values = [value for group in got.rewards["it"] for value in group]
    return values, got


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.usefixtures("files")
def test_trl_by_batch_with_messages(isolate):
    values, got = scored("trl:theirs.py:chat", "7", "skip", "7", "8", isolate=isolate)
    assert values == [1.0, None, 0.0, 1.0]
    assert not got.failures
    assert got.total == [[1.0, None], [0.0, 1.0]]


@pytest.mark.usefixtures("files")
def test_trl_with_text_and_defaults():
    values, _ = scored("trl:theirs.py:lengths", "", "a", "ab", "abc")
    assert values == [1.0, 3.0, 5.0, 7.0]
    values, _ = scored("trl:theirs.py:lengths", "", "a", "ab", "abc", completions="messages")
    assert values == [2.0 + 1.0] * 4  # one message, and two of the prompt


@pytest.mark.usefixtures("files")
def test_trl_async_and_objects():
    assert scored("trl:theirs.py:later", "7", "x", "8", "x")[0] == [1.0, 0.0, 1.0, 0.0]
    assert scored("trl:theirs.py:judge", "7", "x", "8", "x")[0] == [0.5] * 4


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [("fails", "exception", 1), ("hangs", "timeout", 1), ("exits", "crash", 1)],
)
@pytest.mark.usefixtures("files")
def test_an_exception_is_a_failure_of_its_row(name, kind, rows):
    values, got = scored(f"trl:theirs.py:{name}", "a", "bad", "b", "c", timeout=0.5)
    assert [value is None for value in values] == [False, True, False, False]
    assert [(f.kind, f.sample) for f in got.failures] == [(kind, 1)] * rows
    assert got.total[0][1] is None
    assert got.failures[0].plugin == f"trl:theirs.py:{name} (file theirs.py)"


@pytest.mark.parametrize(("name", "kind"), [("short", "length"), ("not_finite", "non-finite")])
@pytest.mark.usefixtures("files")
def test_what_is_no_score_stays_none(name, kind):
    values, got = scored(f"trl:theirs.py:{name}", "a", "b", "c", "d")
    assert values == [None] * 4
    assert {failure.kind for failure in got.failures} == {kind}


@pytest.mark.usefixtures("files")
def test_verl_by_row():
    values, got = scored("verl:scores.py", "7", "x", "8", "x", data_source="sums")
    assert values == [1.0, 0.0, 1.0, 0.0]
    assert set(got.components) == {"it/acc", "it/source"}
    assert got.components["it/acc"] == [[1.0, 0.0], [1.0, 0.0]]
    assert got.components["it/source"] == [[1.0, 1.0], [1.0, 1.0]]
    values, _ = scored("verl:scores.py:compute_score", "7", "x", "8", "x", arguments={"bonus": 0.5})
    assert values == [1.5, 0.5, 1.5, 0.5]
    assert scored("verl:scores.py:bare", "7", "x", "8", "x")[0] == [1.0, 0.0, 1.0, 0.0]
    values, got = scored("verl:scores.py:asked_later", "7", "x", "8", "x")
    assert values == [1.0, 0.0, 1.0, 0.0]
    assert set(got.components) == {"it/acc"}


@pytest.mark.usefixtures("files")
def test_verl_failures_are_not_0():
    values, got = scored("verl:scores.py", "bad", "none", "hollow", "8")
    assert values == [None, None, None, 1.0]
    told = [failure.message for failure in got.failures]
    assert ["cannot read bad" in told[0], "returned None" in told[1], "`score`" in told[2]] == [
        True
    ] * 3


@pytest.mark.usefixtures("files")
def test_what_cannot_be_called_is_said_before_anything_runs():
    for use, settings, told in (
        ("trl:theirs.py:tokens", {}, "completion_ids"),
        ("trl:theirs.py:Judge", {}, "a class"),
        ("verl:scores.py:bare", {"arguments": {"bonus": 1}}, "no parameter bonus"),
    ):
        with pytest.raises(ComponentError, match=told) as error:
            scored(use, "7", "x", "8", "x", **settings)
        scheme, file, _ = use.split(":")
        assert error.value.place.startswith(f"{scheme}:")
        assert file in error.value.place
    with pytest.raises(ComponentError, match=r"theirs.py has no 'chatt'; did you mean 'chat'"):
        scored("trl:theirs.py:chatt", "7", "x", "8", "x")
    with pytest.raises(ValidationError):
        scored("trl:theirs.py:fails", "a", "b", "c", "d", isolate=False, completions="lists")


def test_an_import_that_fails_names_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.py").write_text("def f(completions): ...\nraise SystemExit('no')\n")
    with pytest.raises(ComponentError, match=r"broken\.py failed: SystemExit: no"):
        scored("trl:broken.py:f", "a", "b", "c", "d")


def test_a_file_beside_it_is_not_on_the_path(tmp_path):
    (tmp_path / "judge.py").write_text("from json_of_mine import f\n")
    (tmp_path / "json_of_mine.py").write_text(
        "def f(completions):\n    return [1.0] * len(completions)\n"
    )
    with pytest.raises(ComponentError, match="No module named 'json_of_mine'") as error:
        scored(f"trl:{tmp_path}/judge.py:f", "a", "b", "c", "d")
    assert f"put PYTHONPATH={tmp_path} before the command" in error.value.remedy


def test_an_import_that_ends_the_process_names_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("exits.py").write_text("import os\nos._exit(7)\ndef f(completions): ...\n")
    with pytest.raises(ComponentError, match="exit code 7") as error:
        scored("trl:exits.py:f", "a", "b", "c", "d")
    assert "exits.py:f does when it is imported" in error.value.remedy


@pytest.mark.usefixtures("files")
def test_missing_columns_are_known_before_a_run():
    found = setups(
        Catalog((), foreign_rewards=True),
        [RewardSection(use="trl:theirs.py:chat"), RewardSection(use="verl:scores.py")],
    )
    with Scorer(found) as scorer:
        first, second = scorer.problems(("question", "solution"))
    assert "'answer'" in first.fact
    assert "'answer'" in second.fact


@pytest.mark.usefixtures("files")
def test_from_python_it_is_said_too():
    with pytest.raises(ComponentError, match="would import the file"):
        _ = Rewards([{"use": "verl:scores.py"}]).setups
    assert Rewards([{"use": "verl:scores.py"}], foreign=True).names == ("compute_score",)


RECIPE = """
grpokit: 1
model: {id: tiny-sums, lora: null, dtype: float32}
dataset: {use: arithmetic, with: {split: train, operands: [[0, 9], [0, 9]], template: "{problem}"}}
rewards: [{use: "trl:theirs.py:later"}, {use: "verl:scores.py:bare", weight: 0.5}]
eval: {dataset: {use: arithmetic, with: {split: test, operands: [[0, 9], [0, 9]]}}, limit: 4}
rollout: {prompts: 2, group: 4, max_tokens: 6}
train: {steps: 2}
"""


def test_a_recipe_is_data_until_somebody_agrees(files):
    (files / "r.yaml").write_text(RECIPE)
    (files / "theirs.py").write_text('open("seen", "w")\n' + TRL)

    def run(*args, agree=True):
        code = f"import os, sys; os.chdir({str(files)!r}); from grpokit.cli.main import run; run()"
        more = ["--allow-foreign-rewards"] if agree else []
        return grpokit(*args, *more, code=code, env={"OMP_NUM_THREADS": "1"})

    for command in (["recipes", "check", "r.yaml"], ["plan", "r.yaml"], ["train", "r.yaml"],
                    ["eval", "tiny-sums", "--recipe", "r.yaml"]):  # fmt: skip
        done = run(*command, agree=False)
        assert done.returncode == 2, command
        assert done.stderr.count("C512 ") == 2, command
        assert f"would import the file {files / 'theirs.py'}" in done.stderr
        assert not (files / "seen").exists()
    (files / "wrong.yaml").write_text(RECIPE.replace("theirs.py:later", "nowhere.py:later"))
    missing = run("recipes", "check", "wrong.yaml")
    assert missing.returncode == 2
    assert "wrong.yaml:5:17: C511 " in missing.stderr
    line = "read as TRL: later(completions, answer) -> list, completions as text"
    checked = run("recipes", "check", "r.yaml")
    assert checked.returncode == 0
    exported = run("export", "recipe", "r.yaml", "--to", "trl", agree=False)
    assert exported.returncode == 3
    assert "an export takes the rewards of plugins" in exported.stderr
    assert line in checked.stderr
    assert not (files / "seen").exists()  # its source was read, nothing more
    planned = run("plan", "r.yaml", "--json")
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    roles = {each["role"]: each for each in plan["components"]}
    assert roles["reward later"]["distribution"] == "file"
    assert roles["reward later"]["version"] == "theirs.py"
    assert len(roles["reward later"]["source_hash"]) == 16
    assert any(line in each["fact"] for each in plan["findings"])
    assert (files / "seen").exists()


def test_it_trains_and_goes_on(files):
    (files / "r.yaml").write_text(RECIPE)
    code = f"import os, sys; os.chdir({str(files)!r}); from grpokit.cli.main import run; run()"
    agree = ["--allow-foreign-rewards", "--plain"]
    skip = ["--skip-reward-check"]
    done = grpokit("train", "r.yaml", *agree, *skip, code=code, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "note: `trl:theirs.py:later` is read as TRL" in done.stderr  # C513
    assert "--steps 4 --allow-foreign-rewards" in done.stdout
    steps = (next((files / "runs").glob("*")) / "metrics.jsonl").read_text().splitlines()
    assert "rewards/later/mean" in json.loads(steps[-1])
    refused = grpokit("train", "--resume", "last", "--steps", "3", code=code)
    assert refused.returncode == 2
    (files / "theirs.py").write_text(TRL + "# changed\n")
    changed = grpokit("train", "--resume", "last", "--steps", "3", *agree, code=code)
    assert changed.returncode == 2
    assert "components changed" in changed.stderr


TASKSET = """
import verifiers.v1 as vf

__all__ = ["Sums"]

class Data(vf.TaskData):
    answer: str

class SumTask(vf.Task[Data]):
    @vf.reward(weight=2.0)
    async def right(self, task, trace) -> float:
        if trace.last_reply == "bad":
            raise ValueError("cannot read bad")
        return float(trace.last_reply == task.answer)

    @vf.reward(weight=0.5)
    async def said(self, task, trace) -> dict:
        return {} if trace.last_reply == "x" else {"calm": 1.0}

class Sums(vf.Taskset[SumTask]):
    def load(self):
        return []
"""
FUNCTIONS = """
async def several(task, trace):
    assert (task.level, task.prompt) == (1, task.question)
    assert [m.role for m in trace.messages] == ["system", "user", "assistant"]
    if trace.last_reply == "bad":
        return 0.5
    return {} if trace.last_reply == "x" else {"a": 1.0, "b": 0.25}
"""
ASK = """
import json, sys
sys.path.insert(0, ".")
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from grpokit.spec.recipe import RewardSection
rows, talk, uses, texts = json.loads(sys.argv[1])
sections = [RewardSection(use=use, name=f"r{n}") for n, use in enumerate(uses)]
with Scorer(setups(Catalog((), foreign_rewards=True), sections), timeout=60.0) as scorer:
    got = scorer.score_texts(rows, [texts[:2], texts[2:]], messages=talk)
print(json.dumps([got.rewards, got.components, [f.message for f in got.failures]]))
"""


@pytest.mark.skipif(
    not (ROOT / ".venv/verifiers").exists(), reason="tests/requirements-verifiers.txt is missing"
)
def test_verifiers_functions_and_tasksets(tmp_path):
    (tmp_path / "sums_env.py").write_text(TASKSET)
    (tmp_path / "plugged.py").write_text(FUNCTIONS)
    (tmp_path / "sitecustomize.py").write_text(ABSENT)  # workers inherit it
    uses = ["verifiers:plugged.py:several", "verifiers:sums_env"]
    arguments = (json.dumps([ROWS, TALK, uses, ["7", "x", "bad", "8"]]),)
    paths = (str(tmp_path), ".venv/verifiers")
    rewards, components, failures = python(*paths, script=ASK, arguments=arguments, cwd=tmp_path)
    assert rewards["r0"] == [[1.25, None], [0.5, 1.25]]
    assert rewards["r1"] == [[2.5, 0.0], [None, 2.5]]
    assert components["r0/b"] == [[0.25, None], [None, 0.25]]
    assert components["r1/right"] == [[1.0, 0.0], [None, 1.0]]
    assert len(failures) == 1
    assert "cannot read bad" in failures[0]


def test_reasoning_gym_tasks():
    if find_spec("reasoning_gym") is None:
        pytest.skip("reasoning-gym is not installed")
    entry = {"question": "3 + 4 =", "answer": "7", "metadata": {"source_dataset": "chain_sum"}}
    rows = [entry, {"entry": json.dumps(entry), "question": entry["question"]}]
    section = RewardSection(use="reasoning_gym:chain_sum")
    right = f"<answer>{entry['answer']}</answer>"
    with Scorer(setups(Catalog(()), [section])) as scorer:
        got = scorer.score_texts(rows, [[right, "<answer>x1</answer>"], [right, "no"]])
    values = got.rewards["chain_sum"]
    assert [group[0] for group in values] == [1.0, 1.0]
    assert all(group[1] < 1.0 for group in values)
    with pytest.raises(ComponentError, match="no task 'chain_summ'"):
        Scorer(setups(Catalog(()), [RewardSection(use="reasoning_gym:chain_summ")])).start()

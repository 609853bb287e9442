"""Rewards as TRL calls them."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

import grpokit.interop.axolotl
import grpokit.interop.trl
from dists import install, reward_hooks
from grpokit.errors import PreflightError, RewardError
from grpokit.interop.names import UnknownRewardError, python_name
from grpokit.interop.rewards import Rewards
from grpokit.interop.trl import functions
from grpokit.registry.catalog import Catalog

NUMBER = {"use": "number", "with": {"from": ["whole"]}}
ODD = """
from grpokit.api import Score, reward

def abstains(completion, answer):
    return None if completion == "skip" else Score(value=float(completion == answer), components={"same": 1.0})

def fails(completion):
    if "bad" in completion:
        raise ValueError("cannot read this")
    return 0.5

@reward(form="group")
def place(completions, prompt):
    assert isinstance(prompt, str)
    order = sorted(completions, key=len)
    return [float(order.index(each)) for each in completions]

def says(completion, finish, tokens, sample):
    return float(finish == "length") + 10.0 * tokens + 100.0 * sample
"""
HOOKS = """
from grpokit.api import RewardSpec, hookimpl

@hookimpl
def grpokit_rewards():
    names = ("abstains", "fails", "place", "says")
    return [
        RewardSpec(name=n, summary="A reward.", target=f"grpokit_odd.rewards:{n}", range=None)
        for n in names
    ]
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    install(tmp_path, "grpokit-odd", HOOKS, files={"rewards.py": ODD})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.load()
    made = []

    def make(*sections, **options):
        made.append(
            Rewards(
                [{"use": s} if isinstance(s, str) else s for s in sections],
                catalog=catalog,
                **options,
            )
        )
        return made[-1]

    yield make
    for rewards in made:
        rewards.close()


def chat(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def ask(function, completions, prompts=None, **columns):
    prompts = prompts or [[{"role": "user", "content": "q"}]] * len(completions)
    return function(
        prompts=prompts,
        completions=completions,
        completion_ids=[[1] * len(str(each)) for each in completions],
        trainer_state=object(),
        log_extra=print,
        environments=None,
        **columns,
    )


def test_dotted_paths():
    number = grpokit.interop.trl.number
    assert number.__name__ == "number"
    assert ask(number, chat("It is \\boxed{7}.", "8"), answer=["7", "7"]) == [1.0, 0.0]
    assert ask(number, ["#### 7", "?"], prompts=["p", "q"], solution=["7", "7"]) == [1.0, 0.0]
    assert len(inspect.signature(number).parameters) >= 2  # axolotl counts them
    assert grpokit.interop.axolotl.number is number
    assert (
        grpokit.interop.trl.example_reward_distinct is grpokit.interop.trl.example_reward_distinct
    )


def test_axolotls_prompts():
    prompt_of, _ = grpokit.interop.axolotl.transform(None)
    talk = [{"role": "user", "content": "q"}]
    assert prompt_of({"question": "q", "answer": "7"})["prompt"] == talk
    assert prompt_of({"prompt": talk, "question": "other"})["prompt"] == talk
    assert prompt_of({"prompt": "q"}) == {"prompt": "q"}
    with pytest.raises(PreflightError, match="it has: problem, answer"):
        prompt_of({"problem": "q", "answer": "7"})


def test_unknown_names():
    with pytest.raises(UnknownRewardError, match="grpokit plugins list --kind reward"):
        _ = grpokit.interop.trl.numbre
    assert not hasattr(grpokit.interop.trl, "numbre")
    assert not hasattr(grpokit.interop.trl, "__wrapped__")


def test_a_plugin_that_is_installed_later(tmp_path):
    hooks = reward_hooks("a.b-c", "grpokit_later.rewards:same")
    source = "def same(completion, answer):\n    return float(completion == answer)\n"
    install(
        tmp_path,
        "grpokit-later",
        hooks.replace("a.b-c", "exact-same"),
        files={"rewards.py": source},
    )
    script = (
        "import json, sys\nfrom grpokit.interop.trl import exact_same, later_exact_same as f\n"
        "out = f(prompts=['q'] * 2, completions=['a', 'b'], answer=['a', 'a'])\n"
        "print(json.dumps([out, f.__name__, sorted({'torch', 'numpy', 'trl'} & set(sys.modules))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[1.0, 0.0], "exact_same", []]


def test_an_abstention_is_none_and_components_are_metrics(odd):
    rewards = odd("abstains")
    (function,) = functions(rewards)
    metrics = {}
    got = ask(function, ["a", "skip", "b"], answer=["a"] * 3, log_metric=metrics.__setitem__)
    assert got == [1.0, None, 0.0]
    assert metrics == {"components/abstains/same": 1.0, "failed/abstains": 0.0}


def test_a_failed_reward_takes_the_whole_total(odd):
    """TRL adds up what is not None: a sum without the failed reward would be an invented 0."""
    rewards = odd("fails", NUMBER, max_error_rate=1.0)
    fails, number = functions(rewards)
    completions, answers = ["7", "bad", "8"], ["7"] * 3
    assert ask(fails, completions, answer=answers) == [0.5, None, 0.5]
    assert ask(number, completions, answer=answers) == [1.0, None, 0.0]


def test_a_reward_without_weight_does_not_take_the_total(odd):
    rewards = odd({"use": "fails", "weight": 0.0}, NUMBER, max_error_rate=1.0)
    fails, number = functions(rewards)
    assert ask(fails, ["7", "bad"], answer=["7"] * 2) == [0.5, None]
    assert ask(number, ["7", "bad"], answer=["7"] * 2) == [1.0, 0.0]
    assert rewards.weights == (0.0, 1.0)


def test_too_many_failures_stop_the_run(odd):
    (function,) = functions(odd("fails", max_error_rate=0.05))
    with pytest.raises(RewardError, match="cannot read this"):
        ask(function, ["bad", "bad"])


def test_a_batch_is_scored_once(odd):
    rewards = odd(NUMBER, {**NUMBER, "name": "again"})
    calls = []
    score = rewards.score
    rewards.score = lambda askings: calls.append(1) or score(askings)
    first, second = functions(rewards)
    given = {"prompts": ["q"], "completions": ["7"], "completion_ids": [[1]], "answer": ["7"]}
    for function in (first, second):
        assert function(**given) == [1.0]
    assert len(calls) == 1


def test_scores_are_never_those_of_another_question(odd):
    """Whoever calls the functions himself may use his lists again."""
    number, again = functions(odd(NUMBER, {**NUMBER, "name": "again"}))
    completions, answers = ["7"], ["7"]
    assert ask(number, completions, answer=answers) == [1.0]
    assert ask(number, completions, answer=["8"]) == [0.0]
    assert ask(again, completions, answer=answers) == [1.0]
    answers[0] = "9"
    assert ask(again, completions, answer=answers) == [0.0]


def test_groups_come_from_the_order_of_prompts(odd):
    rewards = odd("place")
    prompts = [[{"role": "user", "content": text}] for text in "aaabbb"]
    completions = ["xxx", "x", "xx", "y", "yyy", "yy"]
    (function,) = functions(rewards, group=3)
    assert ask(function, completions, prompts=prompts) == [2, 0, 1, 0, 2, 1]
    same = [prompts[0]] * 6  # one question asked twice
    assert ask(function, list(completions), prompts=same) == [2, 0, 1, 0, 2, 1]
    with pytest.raises(RewardError, match="only some of them"):
        ask(function, completions[:4], prompts=prompts[:4])


def test_what_trl_does_not_say_is_refused(odd):
    """How many completions a prompt has, and whether one was cut."""
    (place,) = functions(odd("place"))
    with pytest.raises(RewardError, match=r"functions\(rewards, group=NUM_GENERATIONS\)"):
        ask(place, ["x", "xx"])
    (says,) = functions(odd("says"))
    with pytest.raises(RewardError, match="says asks for `finish`, and TRL"):
        ask(says, ["x"])


def test_the_answer_of_other_data_sets(odd):
    (function,) = functions(odd(NUMBER))
    assert ask(function, ["7", "8"], solution=["7", "7"]) == [1.0, 0.0]
    ours = [json.dumps({"answer": n, "solution": "8"}) for n in (7, 7)]
    assert ask(function, ["7", "8"], grpokit_row=ours) == [1.0, 0.0]


def test_facts_of_completions(odd):
    (function,) = functions(odd("says", max_tokens=3), group=2)
    assert ask(function, ["ab", "abc"]) == [20.0, 131.0]


@pytest.mark.parametrize(
    ("text", "name"), [("a-b", "a_b"), ("2x", "_2x"), ("class", "class_"), ("x.y", "x_y")]
)
def test_python_names(text, name):
    assert python_name(text) == name

"""Rewards as verl calls them: one completion at a time, from threads."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

import grpokit.interop.verl
from dists import install, reward_hooks
from grpokit.errors import RewardError
from grpokit.interop.openrlhf import reward_func
from grpokit.interop.rewards import Rewards
from grpokit.interop.verl import compute_score
from grpokit.registry.catalog import Catalog
from naughty import children

NUMBER = {"use": "number", "with": {"from": ["whole"]}}


@pytest.fixture
def rewards():
    made = Rewards(
        [{**NUMBER, "weight": 2.0}, {"use": "example-reward/distinct", "with": {"n": 2}}]
    )
    yield made
    made.close()


def call(function, text, answer="7", **options):
    return function(
        data_source="sums",
        solution_str=text,
        ground_truth=answer,
        extra_info={"answer": answer, "num_turns": 2, "rollout_reward_scores": {}, "index": 0},
        reward_router_address=None,
        reward_model_tokenizer=None,
        **options,
    )


def test_dotted_names_take_settings_and_a_fallback():
    number = grpokit.interop.verl.number
    assert call(number, "#### 7")["score"] == 1.0
    assert call(number, "#### 7", settings={"from": ["boxed"]})["score"] == 0.0
    assert call(number, "\\boxed{7}", settings={"from": ["boxed"]})["acc"] == 1.0
    assert not hasattr(grpokit.interop.verl, "numbre")
    # The gold answer from verl's own field.
    plain = number(data_source="x", solution_str="#### 7", ground_truth="7")
    assert plain == {"score": 1.0, "acc": 1.0, "reward/number": 1.0, "unscored": 0.0}


def test_a_reward_of_groups_is_refused(tmp_path, monkeypatch):
    """It would compare each completion with itself alone."""
    hooks = reward_hooks("shortest", "grpokit_alone.rewards:shortest")
    source = (
        "from grpokit.api import reward\n\n@reward(form='group')\n"
        "def shortest(completions):\n    return [1.0] * len(completions)\n"
    )
    install(tmp_path, "grpokit-alone", hooks, files={"rewards.py": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.load()
    monkeypatch.setattr("grpokit.interop.verl.installed", lambda: catalog)
    monkeypatch.setattr("grpokit.interop.rewards.installed", lambda: catalog)
    earlier = children()
    for _ in range(3):  # verl goes on asking after an error
        with pytest.raises(RewardError, match="one completion at a time"):
            call(grpokit.interop.verl.alone_shortest, "7")
    assert children() <= earlier


VERLS_GSM8K = {
    "split": "train",
    "index": 0,
    "question": "How many clips did Natalia sell?",
    "answer": "In May 48/2 = <<48/2=24>>24, so 48+24 = <<48+24=72>>72.\n#### 72",
}
"""``extra_info`` as verl's own data preparation writes it."""


@pytest.mark.parametrize("made", [False, True])
def test_the_gold_answer_is_the_ground_truth(made):
    """verl's own data sets keep the whole solution under `answer` beside it."""
    rewards = Rewards([{"use": "exact"}])
    function = compute_score(rewards) if made else grpokit.interop.verl.exact
    given = {"data_source": "openai/gsm8k", "ground_truth": "72", "extra_info": VERLS_GSM8K}
    assert function(solution_str="72", **given)["score"] == 1.0
    assert function(solution_str=VERLS_GSM8K["answer"], **given)["score"] == 0.0
    # A row that we exported is as it was: here its answer is a number.
    packed = {"grpokit_row": json.dumps({"answer": 72}), "question": "?"}
    number = compute_score(Rewards([{"use": "number"}]))
    ours = {**given, "ground_truth": "72", "extra_info": packed}
    assert number(solution_str="#### 72", **ours)["score"] == 1.0
    rewards.close()


def test_what_verl_does_not_tell_is_refused(tmp_path, monkeypatch):
    source = """
def cut(completion, truncated):
    return float(truncated)

def asks(completion, prompt):
    return float(prompt == "3 + 4?")
"""
    hooks = reward_hooks("cut", "grpokit_unknown.rewards:cut")
    more = reward_hooks("asks", "grpokit_unknown.rewards:asks")
    install(tmp_path, "grpokit-unknown", hooks, files={"rewards.py": source})
    install(tmp_path, "grpokit-asking", more)
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.load()
    cut = Rewards([{"use": "unknown/cut"}], catalog=catalog)
    with pytest.raises(RewardError, match="cut asks for `truncated`, and verl"):
        call(compute_score(cut), "7")
    asks = Rewards([{"use": "asking/asks"}], catalog=catalog)
    with pytest.raises(RewardError, match="asks asks for `prompt`, and verl"):
        call(compute_score(asks), "7")
    given = {"data_source": "x", "solution_str": "7", "ground_truth": "7"}
    talk = [{"role": "user", "content": "3 + 4?"}]
    told = compute_score(asks)
    assert told(**given, extra_info={"raw_prompt": talk})["score"] == 1.0
    assert told(**given, extra_info={"grpokit_messages": json.dumps(talk)})["score"] == 1.0
    for each in (cut, asks):
        each.close()


def test_the_reward_that_decides_is_one_of_them(rewards):
    told = "correct names 'nmber', and the rewards are number, distinct"
    with pytest.raises(RewardError, match=told):
        call(compute_score(rewards, correct=("nmber", 1.0)), "7")
    with pytest.raises(RewardError, match=told):
        reward_func(rewards, correct=("nmber", 1.0))(["q7"], ["q"], ["7"])


def test_what_reward_kwargs_do_not_have_is_refused(rewards):
    for function in (grpokit.interop.verl.number, compute_score(rewards)):
        with pytest.raises(RewardError, match=r"reward_kwargs has no from; .*settings.from="):
            call(function, "#### 7", **{"from": ["boxed"]})


def test_no_score_is_invented():
    distinct = grpokit.interop.verl.distinct
    with pytest.raises(RewardError, match="give a fallback"):
        call(distinct, "one")
    got = call(distinct, "one", fallback=-0.5)
    assert got["score"] == -0.5
    assert got["unscored"] == 1.0
    assert math.isnan(got["reward/distinct"])
    assert got.keys() == call(distinct, "one two three four").keys()


def test_a_recipe_is_one_function(rewards):
    function = compute_score(
        rewards, name="sums", correct=("number", 1.0), components=("number/x",)
    )
    assert function.__name__ == "sums"
    right, wrong = call(function, "7"), call(function, "a b a b")
    assert (right["score"], right["acc"]) == (2.0, 1.0)  # distinct abstains
    assert wrong["score"] == pytest.approx(2 / 3)
    assert (wrong["acc"], wrong["reward/number"]) == (0.0, 0.0)
    assert math.isnan(right["reward/distinct"])
    assert math.isnan(right["components/number/x"])
    assert list(right) == list(wrong)


def test_from_threads(rewards):
    function = compute_score(rewards)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: call(function, str(n))["score"], range(24)))
    assert [n for n, score in enumerate(got) if score == 2.0] == [7]


def test_settings_from_omegaconf():
    omegaconf = pytest.importorskip("omegaconf", reason="omegaconf is not installed")
    settings = omegaconf.OmegaConf.create({"from": ["boxed"]})
    assert call(grpokit.interop.verl.number, "7", settings=settings)["score"] == 0.0

"""Rewards as verl calls them: one completion at a time, from threads."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

import grpokit.interop.verl
from dists import install, reward_hooks
from grpokit.errors import RewardError
from grpokit.interop.rewards import Rewards
from grpokit.interop.verl import compute_score
from grpokit.registry.catalog import Catalog

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
    with pytest.raises(RewardError, match="one at a time"):
        call(grpokit.interop.verl.alone_shortest, "7")


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

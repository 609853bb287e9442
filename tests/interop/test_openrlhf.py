"""Rewards as OpenRLHF calls them: one text of prompt and completion, from a thread."""

from __future__ import annotations

import math

import pytest

from dists import install, reward_hooks
from grpokit.errors import ComponentError, RewardError
from grpokit.interop.openrlhf import completion_of, reward_func
from grpokit.interop.rewards import Rewards
from grpokit.registry.catalog import Catalog

PROMPT = "<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("query", "completion"),
    [
        (f"{PROMPT}It is 7.<|im_end|>", "It is 7."),
        (f"<s>{PROMPT}It is 7.</s>", "It is 7."),
        (f"{PROMPT}It is 7.<|im_end|>\n<|endoftext|><|endoftext|>", "It is 7."),
        (f"{PROMPT}a <|im_end|> b", "a <|im_end|> b"),
        (f"{PROMPT} 7\n", " 7\n"),
        (f"{PROMPT}", ""),
        (f"{PROMPT}{PROMPT}7", f"{PROMPT}7"),
    ],
)
def test_the_completion_is_what_stands_behind_the_prompt(query, completion):
    assert completion_of(query, PROMPT) == completion


def test_a_cut_prompt_is_not_guessed():
    with pytest.raises(RewardError, match="does not hold its prompt"):
        completion_of(PROMPT[5:] + "7", PROMPT)


def test_totals_scores_and_no_invented_0():
    rewards = Rewards(
        [
            {"use": "number", "with": {"from": ["whole"]}, "weight": 2.0},
            {"use": "example-reward/distinct"},
        ]
    )
    plain = reward_func(rewards)
    found = plain([f"{PROMPT}7<|im_end|>"], [PROMPT], ["7"])
    assert found["rewards"] == 2.0
    assert found["scores"] == 1.0  # the total, within 0 and 1
    assert math.isnan(found["extra_logs"].pop("reward/distinct"))  # keys are equal for all
    assert found["extra_logs"] == {"reward/number": 1.0, "unscored": 0.0}
    right = reward_func(rewards, correct=("number", 1.0))
    mixed = right([f"{PROMPT}one two three"], [PROMPT], [{"solution": "7"}])
    assert (mixed["rewards"], mixed["scores"]) == (1.0, 0.0)
    alone = Rewards([{"use": "example-reward/distinct"}])
    with pytest.raises(RewardError, match="give a fallback"):
        reward_func(alone)([f"{PROMPT}7"], [PROMPT], ["7"])
    backed = reward_func(alone, fallback=-0.5)([f"{PROMPT}7"], [PROMPT], ["7"])
    assert math.isnan(backed["extra_logs"].pop("reward/distinct"))
    assert backed == {"rewards": -0.5, "scores": 0.0, "extra_logs": {"unscored": 1.0}}
    for each in (rewards, alone):
        each.close()


def test_what_it_cannot_do_is_refused(tmp_path, monkeypatch):
    hooks = reward_hooks("best", "grpokit_solo.rewards:best")
    source = (
        "from grpokit.api import reward\n\n@reward(form='group')\n"
        "def best(completions):\n    return [1.0] * len(completions)\n"
    )
    install(tmp_path, "grpokit-solo", hooks, files={"rewards.py": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    group = Rewards([{"use": "solo/best"}], catalog=Catalog.load())
    with pytest.raises(RewardError, match="OpenRLHF asks about one completion at a time"):
        reward_func(group)([f"{PROMPT}7"], [PROMPT], ["7"])
    with pytest.raises(RewardError, match="2 completions at a time"):
        reward_func(group)([f"{PROMPT}7"] * 2, [PROMPT] * 2, ["7"] * 2)
    with pytest.raises(ComponentError, match="its settings are wrong"):
        reward_func(Rewards([{"use": "format"}]))([f"{PROMPT}7"], [PROMPT], ["7"])
    group.close()

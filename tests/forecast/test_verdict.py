"""What a probe's numbers mean, and which keys it names."""

from grpokit.forecast.verdict import verdict
from tiny_recipes import tiny_recipe


def said(tmp_path, **changes):
    dead = {"share": 0.4, "interval": [0.2, 0.6], "now": 0.3}
    data = {
        "group": 4,
        "dead": {"4": dead | changes.pop("dead", {})},
        "total": {"abstained": 0.0, "low": 0.0, "high": 1.0},
        "solved": {"known": 32, "mean": 0.3, "always": 0, "never": 3},
        "passing": {"reward": "exact"},
        "truncated": 0.0,
        "duplicates": 0.0,
        "gold_in_text": 0.3,
        "rehearsal": {"ended": ""},
        "rounds": None,
        "suggested": {"group": {"size": 16}, "band": {"low": 0.16, "high": 0.84}},
    }
    found = verdict(data | changes, tiny_recipe("hf", tmp_path))
    return found["verdict"], " ".join(each["fact"] + each["remedy"] for each in found["reasons"])


STUCK = {"share": 1.0, "interval": [0.9, 1.0], "now": 1.0}


def test_a_sound_recipe(tmp_path):
    assert said(tmp_path) == ("will learn", "")


def test_dead_groups_and_cut_answers_slow_it(tmp_path):
    word, text = said(tmp_path, dead={"share": 0.9, "interval": [0.8, 0.95], "now": 0.9})
    assert (word, "rollout.group: 16" in text) == ("may learn slowly", True)
    word, text = said(tmp_path, truncated=0.7)
    assert (word, "rollout.max_tokens" in text) == ("may learn slowly", True)


def test_answers_that_the_reward_does_not_find(tmp_path):
    solved = {"known": 32, "mean": 0.0, "always": 0, "never": 32}
    word, text = said(tmp_path, dead=STUCK, solved=solved)
    assert word == "will not learn"
    assert "30% of the completions hold the gold answer" in text
    assert said(tmp_path, solved=solved)[0] == "may learn slowly"  # another reward still teaches


def test_what_never_differs(tmp_path):
    assert "solved always or never" in said(tmp_path, dead=STUCK)[1]
    word, text = said(tmp_path, dead=STUCK, truncated=0.95)
    assert (word, "95% of the completions are cut off" in text) == ("will not learn", True)
    none = {"abstained": 1.0, "low": None, "high": None}
    assert "no completion has a score" in said(tmp_path, dead=STUCK, total=none)[1]

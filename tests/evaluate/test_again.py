"""Stored answers under other rewards: the marks that new answers would get."""

import json
from dataclasses import replace

import pytest

from grpokit.errors import PreflightError
from grpokit.evaluate.again import flips, mark_again
from grpokit.evaluate.records import write_evaluation
from grpokit.evaluate.run import evaluate, prepare
from grpokit.evaluate.stored import read_stored
from toy_answers import Answers, sampled_recipe
from toy_parts import toy_catalog

HERE = {"isolate": False}
"""Rewards in this process: quicker."""


def ask(**changes):
    """``level % 5`` of four answers are right in the box, and none ends in the right number."""
    exam = prepare(
        sampled_recipe(**{"limit": 20, "samples": 4, "scoring": HERE, **changes}), toy_catalog()
    )
    with exam.scorer() as scorer:
        model = Answers(lambda level: level % 5, before="\\boxed{8} or ")
        return exam, evaluate(model, exam, label="m", scorer=scorer)


def stored(folder, found):
    write_evaluation(folder, [found], None)
    (read,) = read_stored(folder)
    return read


def again(read, **changes):
    exam = prepare(
        sampled_recipe(**{"limit": 20, "samples": 4, "scoring": HERE, **changes}), toy_catalog()
    )
    with exam.scorer() as scorer:
        return mark_again(read, exam, scorer)


def test_other_rewards_mark_as_if_the_model_had_answered_now(tmp_path):
    _, old = ask()
    rewards = [{"use": "last-number"}, {"use": "constant"}]
    _, expected = ask(rewards=rewards)
    new = again(stored(tmp_path, old), rewards=rewards)
    assert json.loads(json.dumps([vars(item) for item in new.items], default=str)) == json.loads(
        json.dumps([vars(item) for item in expected.items], default=str)
    )
    assert new.decides == "last-number"
    assert new.fingerprint["rewards"] == expected.fingerprint["rewards"]
    assert new.fingerprint["sampling"] == old.fingerprint["sampling"]


def test_flips_are_the_answers_that_changed(tmp_path):
    _, old = ask()
    read = stored(tmp_path, old)
    assert flips(read.evaluation, again(read)) == []
    new = again(read, rewards=[{"use": "constant"}], threshold=0.5)
    assert new.right == len(new.items)
    changed = flips(read.evaluation, new)
    assert len(changed) == len(old.items) - old.right
    assert all(not flip.before and flip.item.correct for flip in changed)
    assert changed[0].as_dict() == {
        "id": old.items[0].id,
        "index": 0,
        "sample": 0,
        "before": False,
        "after": True,
    }


@pytest.mark.parametrize(
    "changes", [{"limit": 19}, {"samples": 2}, {"dataset": {"use": "sums", "with": {"start": 1}}}]
)
def test_other_questions_are_refused(tmp_path, changes):
    read = stored(tmp_path, ask()[1])
    with pytest.raises(PreflightError, match="asks other questions than were answered"):
        again(read, **changes)


def test_seconds_stay_those_of_the_answers(tmp_path):
    read = stored(tmp_path, replace(ask()[1], seconds=77.0))
    assert again(read).seconds == 77.0

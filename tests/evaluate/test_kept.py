"""An evaluation that was interrupted goes on with the answers that are there."""

import json

import pytest

from grpokit.errors import CheckpointError, Interrupted, RewardError
from grpokit.evaluate.kept import FILE, Kept
from grpokit.evaluate.run import evaluate, prepare
from toy_answers import Answers, sampled_recipe
from toy_parts import toy_catalog

HARD = "\udce9\u2028\x1b\n"
"""What JSON and UTF-8 find hard."""


def recipe(**changes):
    return sampled_recipe(**{"limit": 40, "samples": 4, **changes})


def answers(**settings):
    """Level modulo 5 of four answers are right."""
    return Answers(lambda level: level % 5, before=HARD, **settings)


def run(model, folder=None, made=None, label="m"):
    exam = prepare(made or recipe(), toy_catalog())
    kept = Kept(folder) if folder else None
    with exam.scorer() as scorer:
        return evaluate(model, exam, label=label, scorer=scorer, kept=kept)


def test_it_goes_on_where_it_was_stopped(tmp_path):
    whole = run(answers())
    first = answers(batches=2)
    with pytest.raises(Interrupted):
        run(first, tmp_path)
    assert first.levels == list(range(16))  # 32 answers a call, four to each question
    second = answers()
    found = run(second, tmp_path)
    assert second.levels == list(range(16, 40))
    assert found.items == whole.items
    assert found.interval == whole.interval
    third = answers()
    assert run(third, tmp_path).items == whole.items
    assert third.levels == []
    Kept(tmp_path).end()
    assert not (tmp_path / FILE).exists()


def test_each_model_has_its_own(tmp_path):
    with pytest.raises(Interrupted):
        run(answers(batches=1), tmp_path, label="base")
    other = answers(weights="trained")
    run(other, tmp_path, label="trained")
    assert other.levels == list(range(40))
    rest = answers()
    run(rest, tmp_path, label="base")
    assert rest.levels == list(range(8, 40))


@pytest.mark.parametrize(
    "other",
    [
        {"model": answers(weights="other")},
        {"made": recipe(temperature=0.8)},
        {"made": recipe(limit=39)},
        {"made": recipe(threshold=0.5)},
        {"made": recipe(cluster="level")},
        {"made": recipe(rewards=[{"use": "last-number"}])},
    ],
)
def test_answers_of_another_evaluation_are_refused(tmp_path, other):
    with pytest.raises(Interrupted):
        run(answers(batches=1), tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(CheckpointError, match="of another evaluation") as caught:
        run(other.get("model", answers()), tmp_path, other.get("made"))
    assert "--out" in caught.value.remedy
    assert (tmp_path / FILE).read_bytes() == before


def test_killed_within_a_line(tmp_path):
    with pytest.raises(Interrupted):
        run(answers(batches=2), tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-20])
    model = answers()
    assert run(model, tmp_path).items == run(answers()).items
    assert model.levels == list(range(8, 40))  # a batch is asked as it was, whole


@pytest.mark.parametrize("damage", ["{", '{"model": "m", "id": 3}', '{"model": "x"}', "[]", "3"])
def test_a_damaged_line_is_named(tmp_path, damage):
    with pytest.raises(Interrupted):
        run(answers(batches=1), tmp_path)
    path = tmp_path / FILE
    lines = path.read_text().splitlines()
    lines[3] = damage
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(CheckpointError, match="line 4 is damaged") as caught:
        Kept(tmp_path)
    assert caught.value.place == str(path)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    kept = Kept(tmp_path)
    (tmp_path / FILE).mkdir()
    kept.begin("m", "mark")
    with pytest.raises(CheckpointError, match="the answers so far"):
        kept.add("m", [])


def test_nothing_is_written_before_there_is_an_answer(tmp_path):
    with pytest.raises(Interrupted):
        run(answers(batches=0), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_failures_of_before_count(tmp_path):
    """Levels 7, 17, 27 and 37 cannot be marked."""
    made = recipe(rewards=[{"use": "raises-on-some"}], scoring={"max_error_rate": 0.05})
    with pytest.raises(RewardError, match=r"16 of 160 .* row 7") as alone:
        run(answers(), made=made)
    with pytest.raises(Interrupted):
        run(answers(batches=4), tmp_path, made)
    with pytest.raises(RewardError) as resumed:
        run(answers(), tmp_path, made)
    assert resumed.value.fact == alone.value.fact
    lines = (tmp_path / FILE).read_text().splitlines()
    assert sum("raises-on-some" in json.loads(line).get("failures", {}) for line in lines) == 16

"""Evaluating: the questions of training, honest marks, files that can be read again."""

import json
from dataclasses import replace

import pytest

from grpokit.compose.prompts import make_prompt
from grpokit.errors import Interrupted, PreflightError, RewardError
from grpokit.evaluate.records import (
    Evaluation,
    compare_evaluations,
    summary,
    write_evaluation,
)
from grpokit.evaluate.run import BATCH, during_training, evaluate, prepare
from grpokit.spec.flow import Completion, Rollout
from grpokit.spec.recipe import Recipe
from toy_parts import toy_catalog

BASE = {
    "grpokit": 1,
    "model": {"id": "toy"},
    "dataset": {"use": "sums"},
    "prompt": {"use": "boxed"},
    "rewards": [{"use": "boxed"}, {"use": "last-number", "weight": 0.1}],
    "eval": {"dataset": {"use": "sums"}, "limit": 36},
}


def recipe(**sections):
    merged = {**BASE}
    for key, value in sections.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, dict) else value
    return Recipe.model_validate(merged)


class Answers:
    """A model that answers by rule: right in a box where ``right(level)``, else wrong."""

    identity = {"model": "answers"}  # noqa: RUF012

    def __init__(self, right, *, finish="stop"):
        self.right = right
        self.finish = finish
        self.asked = []

    def encode(self, messages):
        return tuple(messages[-1]["content"].encode())

    def generate(self, prompts, sampling, should_stop=None):
        if should_stop:
            should_stop()
        self.asked.append((tuple(prompts), sampling))
        texts = [self.text(prompt.row) for prompt in prompts]
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple(self.encode(prompt.messages) for prompt in prompts),
            completions=tuple(
                (Completion(token_ids=tuple(range(9)), text=text, finish=self.finish),)
                for text in texts
            ),
            sampling=sampling,
        )

    def text(self, row):
        value = row["answer"] if self.right(row["level"]) else "-1"
        return f"It is \\boxed{{{value}}}."


def run(model, made=None, **options):
    exam = prepare(made or recipe(), toy_catalog())
    with exam.scorer() as scorer:
        return evaluate(model, exam, label=options.pop("label", "m"), scorer=scorer, **options)


def test_every_question_is_asked_once_greedily_and_marked():
    model = Answers(lambda level: level % 3 == 0)
    said = []
    found = run(model, progress=lambda done, total: said.append((done, total)))
    assert len(found.items) == 36
    assert found.right == 12
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.interval[0] < 1 / 3 < found.interval[1]
    assert found.rewards() == {"boxed": pytest.approx(1 / 3), "last-number": pytest.approx(1 / 3)}
    assert found.items[3].total == pytest.approx(1.1)
    assert [len(prompts) for prompts, _ in model.asked] == [BATCH, 4]
    sampling = model.asked[0][1]
    assert (sampling.group, sampling.temperature, sampling.step) == (1, 0.0, 0)
    assert sampling.max_tokens == recipe().rollout.max_tokens
    assert said == [(0, 36), (32, 36), (36, 36)]


def test_prompts_are_those_of_training():
    model = Answers(lambda level: True)
    run(model)
    asked = [prompt for prompts, _ in model.asked for prompt in prompts]
    made = recipe()
    rows = prepare(made, toy_catalog()).prompts
    assert asked == list(rows)
    assert asked[5] == make_prompt(made.prompt, rows[5].row, 5)
    assert "\\boxed{}" in asked[0].messages[-1]["content"]


def test_the_recipe_decides_what_correct_means():
    made = recipe(eval={"correct": "last-number", "threshold": 0.5})
    found = run(Answers(lambda level: True), made)
    assert (found.decides, found.threshold) == ("last-number", 0.5)
    with pytest.raises(PreflightError, match="no reward is called 'nope'"):
        prepare(recipe(eval={"correct": "nope"}), toy_catalog())


def test_truncation_is_counted():
    found = run(Answers(lambda level: True, finish="length"))
    assert found.truncated == 1.0
    assert found.as_dict()["accuracy_not_truncated"] is None


def test_an_answer_that_cannot_be_marked_is_wrong_and_counted():
    made = recipe(
        rewards=[{"use": "raises-on-some"}], scoring={"max_error_rate": 0.2}, eval={"correct": None}
    )
    found = run(Answers(lambda level: True), made)
    assert found.failed == 3  # levels 7, 17 and 27 of 36
    assert found.right == 33
    assert "KeyError" in found.items[7].failures["raises-on-some"]
    assert not found.items[7].correct
    strict = recipe(rewards=[{"use": "raises-on-some"}])
    with pytest.raises(RewardError, match=r"3 of 36 .* row 7") as caught:
        run(Answers(lambda level: True), strict)
    assert "grpokit-toy 1.2.3" in str(caught.value)
    assert caught.value.exit_code == 4


def test_abstaining_is_wrong_and_said():
    found = run(Answers(lambda level: True), recipe(rewards=[{"use": "abstains"}]))
    assert (found.right, found.abstained) == (0, 36)
    assert found.rewards() == {"abstains": None}


def test_two_models_are_paired_item_by_item():
    base = run(Answers(lambda level: level < 4), label="base")
    trained = run(Answers(lambda level: level >= 2), label="trained")
    found = compare_evaluations(base, trained)
    assert found.verdict == "improved"
    assert [trained.items[i].id for i in (0, 1)] == list(found.lost)
    assert len(found.gained) == 32
    other = run(Answers(lambda level: True), recipe(eval={"limit": 35}))
    with pytest.raises(PreflightError, match="different items"):
        compare_evaluations(base, other)
    reworded = run(Answers(lambda level: True), recipe(prompt={"use": "plain"}))
    with pytest.raises(PreflightError, match="different items"):
        compare_evaluations(base, reworded)


def test_repeated_questions_stay_apart(monkeypatch):
    monkeypatch.setattr("toy_parts.SUMS", [{"question": "q", "answer": "3", "level": 1}] * 5)
    found = run(Answers(lambda level: True), recipe(eval={"limit": 3}))
    first = found.items[0].id
    assert [item.id for item in found.items] == [first, f"{first}#2", f"{first}#3"]
    assert compare_evaluations(found, found).n == 3


def test_a_signal_stops_it():
    def stop():
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        run(Answers(lambda level: True), should_stop=stop)


def test_a_recipe_without_held_out_questions_is_refused():
    with pytest.raises(PreflightError, match="no held-out data set") as caught:
        prepare(Recipe.model_validate({**BASE, "eval": {}}), toy_catalog())
    assert "eval.dataset" in str(caught.value)


def test_fingerprint_changes_with_what_matters():
    def print_of(**sections):
        return prepare(recipe(**sections), toy_catalog()).fingerprint

    assert print_of() == print_of(optim={"lr": 1e-3})
    for changed in (
        {"eval": {"limit": 30}},
        {"eval": {"temperature": 0.5}},
        {"prompt": {"system": "Think."}},
        {"rewards": [{"use": "boxed"}]},
        {"eval": {"max_tokens": 7}},
    ):
        assert print_of(**changed) != print_of()


def test_files_are_whole_and_hold_every_item(tmp_path):
    base = run(Answers(lambda level: False), label="base")
    trained = run(Answers(lambda level: True), label="trained")
    hostile = replace(trained.items[0], text="\ud800 \x1b[31m \x00")
    trained = replace(trained, items=(hostile, *trained.items[1:]))
    found = compare_evaluations(base, trained)
    folder = write_evaluation(tmp_path / "deep" / "eval", [base, trained], found)
    lines = [json.loads(x) for x in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 72
    assert {line["model"] for line in lines} == {"base", "trained"}
    assert lines[0]["scores"] == {"boxed": 0.0, "last-number": 0.0}
    data = json.loads((folder / "summary.json").read_text())
    assert data == json.loads(json.dumps(summary([base, trained], found)))
    assert data["comparison"]["verdict"] == "improved"
    assert data["models"][1]["fingerprint"]["model"] == {"model": "answers"}
    assert sorted(path.name for path in folder.iterdir()) == ["samples.jsonl", "summary.json"]


def test_an_empty_evaluation_says_nothing():
    found = Evaluation(label="m", items=(), decides="x", threshold=1.0, fingerprint={})
    assert found.interval == (0.0, 1.0)
    assert found.as_dict()["tokens_mean"] is None


def test_metrics_during_training():
    shared = []

    def share(score, rollout):
        shared.append(len(rollout.prompts))
        return score(rollout)

    run = during_training(recipe(), toy_catalog())
    metrics = run(Answers(lambda level: True), lambda: None, share)
    assert shared == [BATCH, 4], "processes that share a run share the marking"
    assert metrics["accuracy"] == 1.0
    assert metrics["accuracy_low"] > 0.9
    assert metrics["questions"] == 36
    assert metrics["reward/boxed"] == 1.0
    assert all(isinstance(value, float) for value in metrics.values())

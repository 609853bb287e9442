"""What a receipt takes from runs, and which runs it refuses."""

import hashlib
import json
import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.engine.record import JsonLines
from grpokit.errors import PreflightError, RecipeError
from grpokit.receipts.build import build
from grpokit.receipts.facts import holds
from grpokit.receipts.marks import unpack
from grpokit.receipts.verify import verify
from grpokit.registry.resolve import source_hash
from saved_runs import completion


def problems(paths, loaded, catalog):
    with pytest.raises(PreflightError) as caught:
        build(paths, loaded, catalog)
    return "\n".join(caught.value.problems)


def test_what_it_says(make_run, loaded, catalog):
    path = make_run()
    made = build([path], loaded, catalog, note="quiet")
    (run,) = made.runs
    assert (run.seed, run.steps, run.seconds, run.tokens, run.completions) == (1, 2, 3.0, 24, 8)
    assert run.hardware["cpu"]
    assert int(run.hardware["cores"]) >= 1
    assert run.packages["python"].startswith("3.")
    assert "cpu" not in run.packages
    assert unpack(run.base.right, 9) == (False, False, True) + (False,) * 6
    assert (run.difference.gained, run.difference.lost) == (7, 0)
    assert run.weights == "bb"
    assert (made.model.id, made.model.weights) == ("tiny-sums", "aa")
    assert made.metric.n == 9
    assert [(r.name, r.id, r.weight) for r in made.rewards] == [
        ("number", "number", 0.9),
        ("distinct", "example-reward/distinct", 0.1),
    ]
    number, distinct = (reward.source for reward in made.rewards)
    assert number == source_hash(catalog.find("reward", "number"))
    file = find_spec("grpokit_example_reward.rewards").origin
    assert distinct == hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    assert set(made.plugins) == {"grpokit", "grpokit-hf", "grpokit-example-reward"}
    assert made.recipe.values["train.steps"] == 2
    assert "train.seed" not in made.recipe.values
    assert not any(str(path.parent) in str(value) for value in made.recipe.values.values())
    assert [text.name for text in made.recipe.texts] == ["sums.yaml"]
    assert (made.over_seeds, made.note) == (None, "quiet")
    assert holds(verify(made, loaded, catalog))


def test_several_seeds(make_run, loaded, catalog):
    other = (True,) * 6 + (False,) * 3
    made = build([make_run(seed=3, trained=other), make_run(seed=2)], loaded, catalog)
    assert [run.seed for run in made.runs] == [2, 3]
    over = made.over_seeds
    assert over.trained == pytest.approx((8 / 9 + 6 / 9) / 2)
    assert (over.lowest, over.highest) == (pytest.approx(6 / 9), pytest.approx(8 / 9))
    assert over.deviation == pytest.approx((8 / 9 - 6 / 9) / 2**0.5)
    assert holds(verify(made, loaded, catalog))


def test_runs_that_do_not_go_together(make_run, loaded, catalog, rewrite):
    one, other = make_run(seed=1), make_run(seed=1)
    told = problems([one, other], loaded, catalog)
    assert "2 runs have the seed 1" in told
    plan = json.loads((other / "plan.json").read_text())
    plan["components"][0]["source_hash"] = "0" * 16
    rewrite(other / "plan.json", plan | {"dataset_fingerprint": "other"})
    told = problems([one, other], loaded, catalog)
    assert "trained on different rows" in told
    assert "components of other versions" in told


def test_every_reason_at_once(make_run, loaded, catalog):
    path = make_run(evaluated=False)
    (path / "final" / "run.json").write_text('{"step": 1}')
    (path / "reward-check.json").unlink()
    told = problems([path], loaded, catalog)
    assert "the run is stopped, at step 2 of 2: grpokit train --resume" in told
    assert "does not say whether its rewards were checked" in told
    assert f"not evaluated against its base model: grpokit eval {path} --base" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optim.lr=0.5", "optim.lr was 0.5, is null"),
        ("rewards.1.weight=0.2", "rewards.1.weight was 0.2, is 0.1"),
        ("algorithm.with.epsilon=0.3", "algorithm.with.epsilon was 0.3, is 0.2"),
    ],
)
def test_a_run_of_another_recipe(make_run, loaded, catalog, change, told):
    path = make_run(overrides=[change])
    assert told in problems([path], loaded, catalog)


def test_an_evaluation_that_is_not_the_recipe_s(make_run, loaded, catalog, rewrite):
    path = make_run(overrides=["eval.limit=9", "eval.temperature=0.5"])
    assert "another sampling than the recipe's" in problems([path], loaded, catalog)
    path = make_run(seed=2)
    summary = path / "eval" / "20260101-000000" / "summary.json"
    data = json.loads(summary.read_text())
    data["models"][1]["fingerprint"]["rewards"]["number"] += "0"
    rewrite(summary, data)
    told = problems([path], loaded, catalog)
    assert "trained: its rewards are not those that are installed: number" in told


def test_an_evaluation_of_other_weights(make_run, loaded, catalog):
    path = make_run()
    late = time.time() + 60
    os.utime(path / "final" / "MANIFEST.json", (late, late))
    assert "older than the trained weights" in problems([path], loaded, catalog)


def test_answers_that_somebody_changed(make_run, loaded, catalog):
    path = make_run()
    samples = path / "eval" / "20260101-000000" / "samples.jsonl"
    lines = samples.read_text().splitlines()
    for change, told in [
        (lines[0].replace('"correct": false', '"correct": true'), "not marked as its score says"),
        (lines[0].replace('"number": 0.0', '"number": 1.0').replace('"correct": false', '"correct": true'),
         "samples.jsonl and summary.json disagree"),
        (lines[1], "other questions for base"),
        ("{", "JSONDecodeError"),
    ]:  # fmt: skip
        assert change != lines[0]
        samples.write_text("\n".join([change, *lines[1:]]) + "\n")
        assert told in problems([path], loaded, catalog)


def edit(path, rewrite):
    """As if the reward's source had been another one when the run was started."""
    plan = json.loads((path / "plan.json").read_text())
    reward = next(c for c in plan["components"] if c["role"] == "reward distinct")
    reward["source_hash"] = "0" * 16
    rewrite(path / "plan.json", plan)


def save_rollouts(path, loaded, catalog, score):
    row = open_dataset(catalog, loaded.recipe.dataset)[0]
    prompt = make_prompt(loaded.recipe.prompt, row, 0)
    messages = [dict(message) for message in prompt.messages]
    saved = {"id": prompt.id, "index": 0, "messages": messages, "answer": row["answer"]}
    one = completion(0, str(row["answer"]), 1.0, number=score, distinct=None)
    JsonLines(path / "rollouts.jsonl").append([{"step": 1, "prompt": saved, "completions": [one]}])


def test_a_reward_that_was_edited_and_scores_the_same(make_run, loaded, catalog, rewrite):
    path = make_run()
    edit(path, rewrite)
    save_rollouts(path, loaded, catalog, 1.0)
    made = build([path], loaded, catalog)
    assert made.runs[0].edited == ("example-reward/distinct",)
    facts = verify(made, loaded, catalog)
    assert holds(facts)
    (told,) = (fact for fact in facts if fact.name == "edited, seed 1")
    assert told.state == "noted"


def test_a_reward_that_was_edited_and_scores_otherwise(make_run, loaded, catalog, rewrite):
    path = make_run()
    edit(path, rewrite)
    told = problems([path], loaded, catalog)
    assert "example-reward/distinct changed since it trained, and " in told
    assert "the run saved no rollouts" in told
    save_rollouts(path, loaded, catalog, 0.5)
    assert "number scores a completion of step 1 otherwise" in problems([path], loaded, catalog)


def test_an_evaluation_by_a_reward_that_was_edited(make_run, loaded, catalog, rewrite):
    """The answers of this fixture are not what its scores say, so marking them again shows."""
    path = make_run()
    summary = path / "eval" / "20260101-000000" / "summary.json"
    data = json.loads(summary.read_text())
    prints = data["models"][0]["fingerprint"]["rewards"]
    name, version, _, settings = prints["number"].split()
    prints["number"] = f"{name} {version} {'0' * 16} {settings}"
    rewrite(summary, data)
    told = problems([path], loaded, catalog)
    assert "its rewards changed since, and number marks the answer to item" in told


@pytest.mark.parametrize("line", ["{}", "[]", '{"seconds": {"total": "x"}}', "{"])
def test_records_that_are_damaged(make_run, loaded, catalog, line):
    path = make_run()
    (path / "metrics.jsonl").write_text(f'{line}\n{{"step": 2}}\n')
    told = problems([path], loaded, catalog)
    assert str(path) in told
    assert "records are damaged" in told or "metrics.jsonl cannot be read" in told


def test_a_resume_that_was_forced_or_moved(make_run, loaded, catalog):
    path = make_run()
    environment = json.loads((path / "plan.json").read_text())["environment"]
    resumes = JsonLines(path / "resumes.jsonl")
    harmless = ["summary", "train.show_every", "scoring.timeout", "eval.limit"]
    resumes.append([{"environment": environment, "forced": [], "changed": harmless}])
    build([path], loaded, catalog)
    changed = ["optim.lr", "train.steps", "train.out"]
    elsewhere = environment | {"torch": "1.0"}
    resumes.append([{"environment": elsewhere, "forced": ["optim.lr: 1, 2"], "changed": changed}])
    told = problems([path], loaded, catalog)
    assert "resumed by --force with a change: optim.lr: 1, 2" in told
    assert "its first steps had another train.steps: train it again" in told
    assert "resumed in another environment (torch" in told


def test_a_skipped_check_is_said(make_run, loaded, catalog, rewrite):
    path = make_run()
    rewrite(path / "reward-check.json", {"skipped": True, "checked": False})
    made = build([path], loaded, catalog)
    assert made.runs[0].reward_check.state == "skipped"
    told = [fact.text for fact in verify(made, loaded, catalog) if fact.name == "reward check"]
    assert told == ["skipped before training: --skip-reward-check"]


def test_what_is_no_run(tmp_path, loaded, catalog):
    with pytest.raises(RecipeError, match="not a run"):
        build([tmp_path], loaded, catalog)

"""A receipt against what is here: what holds, what does not, and what only is otherwise."""

import json

import pytest

from dists import install, reward_hooks
from grpokit.compose.load import load_recipe
from grpokit.receipts.again import base_again, trained_again
from grpokit.receipts.build import build
from grpokit.receipts.facts import holds
from grpokit.receipts.marks import pack, unpack
from grpokit.receipts.model import Receipt
from grpokit.receipts.values import digest
from grpokit.receipts.verify import verify
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import source_hash


def changed(receipt: Receipt, **at) -> Receipt:
    """The receipt with other values under dotted keys, ``__`` for a dot."""
    data = receipt.model_dump(mode="json")
    for key, value in at.items():
        place = data
        *steps, last = key.split("__")
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = value
    return Receipt.model_validate_json(json.dumps(data))


def states(facts):
    return {fact.name: fact.state for fact in facts}


def test_all_that_holds(receipt, loaded, catalog):
    found = states(verify(receipt, loaded, catalog))
    assert found == {
        "recipe hash": "recomputed",
        "recipe": "same",
        "recipe files": "same",
        "reward number": "same",
        "reward distinct": "same",
        "training data": "same",
        "held-out data": "same",
        "metric": "same",
        "questions": "same",
        "numbers, seed 1": "recomputed",
        "reward check": "noted",
        "versions": "same",
        "hardware": "same",
        "model": "not checked",
        "training": "not checked",
    }


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ({"recipe__hash": "0" * 16}, "recipe hash"),
        ({"rewards__0__source": "0" * 16}, "reward number"),
        ({"rewards__1__id": "other/distinct"}, "reward distinct"),
        ({"train__fingerprint": "x"}, "training data"),
        ({"eval__fingerprint": "x"}, "held-out data"),
        ({"metric__items": "0" * 16}, "questions"),
        ({"metric__threshold": 0.5}, "metric"),
        ({"metric__reward": "distinct"}, "metric"),
        ({"metric__sampling": {"temperature": "1"}}, "metric"),
        ({"rewards__0__weight": 0.5}, "reward number"),
        ({"rewards__0__settings": {"tolerance": 1.0}}, "reward number"),
        ({"runs__0__steps": 3}, "numbers, seed 1"),
        ({"runs__0__trained__value": 0.9}, "numbers, seed 1"),
        ({"runs__0__trained__interval": [0.0, 1.0]}, "numbers, seed 1"),
        ({"runs__0__difference__interval": [0.5, 0.6]}, "numbers, seed 1"),
        ({"runs__0__difference__lost": 1}, "numbers, seed 1"),
        ({"runs__0__trained__right": "fff"}, "numbers, seed 1"),
        ({"runs__0__base__right": "ff"}, "numbers, seed 1"),
        ({"metric__level": 0.9}, "numbers, seed 1"),
        (
            {"over_seeds": dict.fromkeys(
                ("base", "trained", "difference", "deviation", "lowest", "highest"), 0.5)},
            "over the seeds",
        ),
    ],
)  # fmt: skip
def test_what_contradicts_it(receipt, loaded, catalog, at, name):
    facts = verify(changed(receipt, **at), loaded, catalog)
    assert [fact.name for fact in facts if fact.state == "differs"] == [name]
    assert not holds(facts)
    assert all(fact.remedy for fact in facts if fact.state == "differs")


def test_each_machine_is_compared(make_run, loaded, catalog):
    two = build([make_run(), make_run(seed=2)], loaded, catalog)
    assert "hardware, seed 2" not in states(verify(two, loaded, catalog))
    moved = changed(two, runs__1__hardware__cpu="PDP-11", runs__1__packages__torch="1.0")
    found = {fact.name: fact for fact in verify(moved, loaded, catalog)}
    assert (found["hardware"].state, found["hardware, seed 2"].state) == ("same", "noted")
    assert "torch was 1.0, is " in found["versions, seed 2"].text


def test_one_seed_twice(receipt, loaded, catalog):
    runs = receipt.model_dump(mode="json")["runs"] * 2
    facts = verify(changed(receipt, runs=runs), loaded, catalog)
    assert {fact.name for fact in facts if fact.state == "differs"} == {"seeds", "over the seeds"}


@pytest.mark.parametrize(
    ("at", "name", "told"),
    [
        ({"runs__0__packages__torch": "1.0"}, "versions", "torch was 1.0, is"),
        ({"plugins__grpokit-hf": "0.0.1"}, "versions", "grpokit-hf was 0.0.1, is"),
        ({"runs__0__hardware__gpu": "NVIDIA H200"}, "hardware", "gpu was NVIDIA H200, is not here"),
        ({"recipe__texts": []}, "recipe files", "another text"),
    ],
)
def test_what_is_otherwise_and_decides_nothing(receipt, loaded, catalog, at, name, told):
    facts = verify(changed(receipt, **at), loaded, catalog)
    (fact,) = (fact for fact in facts if fact.name == name)
    assert fact.state == "noted"
    assert told in fact.text
    assert holds(facts)


def facts_of(receipt, recipe, catalog, old, new):
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return verify(receipt, load_recipe(str(recipe), catalog=catalog), catalog)


def test_a_recipe_that_was_changed(receipt, recipe, catalog):
    facts = facts_of(receipt, recipe, catalog, "weight: 0.9", "weight: 0.8")
    fact, reward = (fact for fact in facts if fact.state == "differs")
    assert fact.text == "rewards.0.weight was 0.9, is 0.8"
    assert reward.name == "reward number"


def test_words_about_a_recipe_may_change(receipt, recipe, catalog):
    facts = facts_of(receipt, recipe, catalog, "summary: Nine sums.", "# a word\nsummary: Sums!")
    assert holds(facts)
    assert states(facts)["recipe files"] == "noted"


def test_a_setting_that_came_since(receipt, loaded, catalog):
    values = {k: v for k, v in receipt.recipe.values.items() if k != "optim.weight_decay"}
    older = changed(receipt, recipe__values=values, recipe__hash=digest(values))
    facts = verify(older, loaded, catalog)
    assert holds(facts)
    (fact,) = (fact for fact in facts if fact.name == "new settings")
    assert (fact.state, fact.text) == ("noted", "came since, at their defaults: optim.weight_decay")


def test_a_data_set_that_is_not_here(receipt, recipe, tmp_path, catalog):
    (tmp_path / "rows.jsonl").write_text('{"question": "1?", "answer": "1"}\n')
    gone = "{use: jsonl, with: {path: rows.jsonl}}"
    text = recipe.read_text()
    line = next(line for line in text.splitlines() if line.startswith("dataset:"))
    recipe.write_text(text.replace(line, f"dataset: {gone}"))
    loaded = load_recipe(str(recipe), catalog=catalog)
    (tmp_path / "rows.jsonl").unlink()
    fact = {fact.name: fact for fact in verify(receipt, loaded, catalog)}["training data"]
    assert fact.state == "not checked"
    assert fact.remedy


def test_answers_given_again(receipt):
    right = unpack(receipt.runs[0].base.right, 9)
    model = {"weights": "aa"}
    assert states(base_again(receipt, right, model)) == {
        "model": "same",
        "base again": "recomputed",
    }
    found = base_again(receipt, (True,) * 9, model | {"weights": "bb"})
    assert states(found) == {"model": "differs", "base again": "differs"}
    one_more = (True, *right[1:])
    assert states(base_again(receipt, one_more, model))["base again"] == "same"


def test_trained_again(make_run, loaded, catalog):
    one = build([make_run()], loaded, catalog)
    run = one.runs[0]
    right = unpack(run.trained.right, 9)
    found = trained_again(one, run, right, "bb")
    assert [fact.state for fact in found] == ["recomputed", "recomputed"]
    found = trained_again(one, run, (*right[:7], False, False), "cc")
    assert [fact.state for fact in found] == ["noted", "same"]
    found = trained_again(one, run, (False,) * 9, "cc")
    assert [fact.state for fact in found] == ["noted", "differs"]
    # Far from this seed, but where another one of the receipt lies.
    several = build([make_run(), make_run(seed=2, trained=(False,) * 9)], loaded, catalog)
    found = trained_again(several, several.runs[0], (False,) * 9, "cc")
    assert [fact.state for fact in found] == ["noted", "same"]
    assert pack(right) == run.trained.right


def test_a_reward_that_changed(receipt, loaded, catalog):
    facts = verify(changed(receipt, rewards__1__source="1" * 16), loaded, catalog)
    (fact,) = (fact for fact in facts if fact.state == "differs")
    assert "the source of example-reward/distinct was 1111" in fact.text
    assert fact.remedy.startswith("pip install grpokit-example-reward==0.1.0, or ")


def test_a_reward_is_held_to_what_it_imports(tmp_path, monkeypatch):
    hooks = reward_hooks("loud", "grpokit_edited.code:loud")
    files = {"code.py": "from grpokit_edited.helper import up\n", "helper.py": "up = str.isupper\n"}
    install(tmp_path, "grpokit-edited", hooks, files=files)
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Catalog.load().find("reward", "edited/loud")
    before = source_hash(entry)
    (tmp_path / "grpokit_edited" / "helper.py").write_text("up = str.islower\n")
    assert source_hash(entry) != before

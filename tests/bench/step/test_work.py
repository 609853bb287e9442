"""The work of a cell: the same tokens for everybody, different ones for each row, TRL's advantages."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from statistics import fmean, stdev

import pytest

from grpokit.bench.step.grid import Cell, Contestant, Settings
from grpokit.bench.step.work import advantages, fingerprint, make_work
from grpokit.bench.step.worker import read_work
from grpokit.spec.components import StepBenchSpec
from grpokit.spec.recipe import Recipe

CELL = Cell(dtype="float32", prompt=50, completion=12, group=8, keep=0.5)
SETTINGS = Settings(model="some", prompts=2)
MODEL = {"folder": "/models/some", "tokens": list(range(5, 1205))}
SPEC = StepBenchSpec(name="some", summary="", target="a.b:run")


def test_rows_are_different_and_repeat() -> None:
    work = make_work(CELL, SETTINGS, MODEL)
    assert [len(ids) for ids in work.prompts] == [50, 50]
    rows = [ids for group in work.completions for ids in group]
    assert {len(ids) for ids in rows} == {12}
    assert len({*rows, *work.prompts}) == 18
    assert make_work(CELL, SETTINGS, MODEL) == work
    assert work.steps == SETTINGS.rounds + 1


def test_a_short_text_is_repeated() -> None:
    work = make_work(CELL, SETTINGS, {**MODEL, "tokens": [1, 2, 3]})
    assert work.prompts[0] == (1, 2, 3) * 16 + (1, 2)


def test_half_of_a_group_is_kept_with_both_rewards() -> None:
    work = make_work(CELL, SETTINGS, MODEL)
    assert work.keep == tuple((p, g) for p in range(2) for g in range(4))
    assert {work.rewards[p][g] for p, g in work.keep} == {0.0, 1.0}
    assert not work.whole
    assert make_work(replace(CELL, keep=1.0), SETTINGS, MODEL).whole


def test_varied_lengths_are_within_the_limit() -> None:
    work = make_work(CELL, replace(SETTINGS, lengths="varied"), MODEL)
    lengths = {len(ids) for group in work.completions for ids in group}
    assert lengths == {3, 6, 9, 12}
    assert work.max_tokens == 12


def test_advantages_are_those_of_trl() -> None:
    rewards = [0.0, 1.0, 0.0, 1.0, 1.0]
    found = advantages(rewards)
    wanted = [(r - fmean(rewards)) / (stdev(rewards) + 1e-4) for r in rewards]
    assert found == pytest.approx(wanted)
    assert advantages([1.0]) == (0.0,)


def test_the_work_survives_its_file_and_is_a_recipe() -> None:
    work = make_work(CELL, SETTINGS, MODEL)
    again = read_work(json.loads(json.dumps(asdict(work))))
    assert replace(again, recipe=work.recipe) == work
    recipe = Recipe.model_validate_json(json.dumps(again.recipe))
    assert (recipe.rollout.group, recipe.model.lora.rank if recipe.model.lora else 0) == (8, 16)


def test_what_makes_a_measurement_another_one() -> None:
    work = make_work(CELL, SETTINGS, MODEL)
    one = Contestant(label="some", spec=SPEC, plugin="x", code="1", versions={"torch": "2"})
    same = fingerprint(work, replace(one, label="another name"))
    assert fingerprint(work, one) == same
    others = [
        fingerprint(replace(work, threads=2), one),
        fingerprint(work, replace(one, code="2")),
        fingerprint(work, replace(one, versions={"torch": "3"})),
        fingerprint(work, replace(one, spec=replace(SPEC, settings=(("packing", False),)))),
    ]
    assert len({same, *others}) == 5

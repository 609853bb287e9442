"""The plan: everything is found out before a model loads, and every problem has its remedy."""

import json
import time
from dataclasses import replace

import pytest

from grpokit.compose.draft import needs_reference
from grpokit.compose.lengths import check_lengths
from grpokit.compose.load import Loaded
from grpokit.compose.plan import (
    PLAN_CODES,
    make_plan,
    plan_json,
    problem_lines,
    raise_errors,
)
from grpokit.compose.resources import available_memory, checkpoint_count, disk_forecast, free_disk
from grpokit.compose.trials import final_answer, ways, wrong_answer
from grpokit.errors import ExitCode, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe
from toy_parts import toy_catalog

BASE = {
    "grpokit": 1,
    "model": {"id": "toy"},
    "dataset": {"use": "sums"},
    "prompt": {"use": "boxed"},
    "rewards": [{"use": "boxed"}],
    "backend": {"use": "toy"},
    "rollout": {"prompts": 4, "group": 16, "max_tokens": 64},
    "train": {"steps": 20, "save_every": 5},
}


def recipe(**sections):
    return Recipe.model_validate({**BASE, **sections})


def planned(tmp_path=None, **sections):
    if tmp_path is not None:
        sections.setdefault("train", {"steps": 20, "save_every": 5, "out": str(tmp_path)})
    loaded = Loaded(recipe=recipe(**sections), name="toy", path=None, data={}, provenance={})
    return make_plan(loaded, toy_catalog())


def codes(plan, level):
    return [problem.code for problem in plan.findings if problem.level == level]


def test_columns_of_a_sampler_are_looked_for_in_the_open_data_set():
    def problems(**settings):
        part = {"use": "band", "with": settings}
        wanted = recipe(
            dataset={"use": "inline", "with": {"rows": [{"question": "?", "answer": "1"}]}},
            rewards=[{"use": "exact"}],
            algorithm={"use": "grpo", "parts": {"sampler": part}},
            backend={"use": "hf"},
        )
        loaded = Loaded(recipe=wanted, name="toy", path=None, data={}, provenance={})
        errors = make_plan(loaded, Catalog.load()).errors
        return [problem for problem in errors if problem.key == "algorithm.parts.sampler"]

    (found,) = problems(column="rate")
    assert found.code == "P203"
    assert "asks for the column `rate`; the data set has question, answer" in found.fact
    assert problems(column="answer") == []


def test_a_good_recipe_has_everything_and_no_error(tmp_path):
    plan = planned(tmp_path)
    assert plan.errors == ()
    assert raise_errors(plan) is None
    assert plan.columns == ("question", "answer", "level")
    assert plan.uses[0].asks == ("completion", "answer")
    assert plan.uses[0].columns == ("answer",)
    assert plan.rendered.startswith("<user>What is 0 + 3?")
    assert plan.rendered_tokens == len(plan.rendered)
    assert plan.memory.parts["weights"] > 0
    assert plan.dataset_fingerprint == "sums-0-40-"
    assert plan.arithmetic.epochs == 2.0
    assert plan.environment["toy"] == "1.0"
    assert plan.environment["python"]
    assert plan.disk["checkpoints"] > 0
    assert plan.notes


def test_components_carry_distribution_version_and_hash():
    plan = planned(eval={"dataset": {"use": "sums", "with": {"start": 30}}})
    roles = {each.role: each for each in plan.components}
    assert list(roles) == ["dataset", "reward boxed", "algorithm", "backend", "eval dataset"]
    assert roles["reward boxed"].distribution == "grpokit-toy"
    assert roles["reward boxed"].version == "1.2.3"
    assert len(roles["reward boxed"].source_hash) == 16
    assert roles["eval dataset"].settings == {"start": 30}


def test_the_gold_answer_is_tried_in_the_form_that_the_rewards_want():
    plan = planned(rewards=[{"use": "boxed"}, {"use": "last-number", "weight": 0.2}])
    assert plan.way == "boxed"
    assert [(t.reward, t.row, t.gold, t.wrong) for t in plan.trials] == [
        ("boxed", 0, 1.0, 0.0),
        ("boxed", 1, 1.0, 0.0),
        ("last-number", 0, 1.0, 0.0),
        ("last-number", 1, 1.0, 0.0),
    ]
    assert plan.trials[0].completion == "The answer is \\boxed{3}."
    plan = planned(prompt={"use": "hash"}, rewards=[{"use": "last-number"}])
    assert plan.way == "hash"
    plan = planned(prompt={"use": "plain"}, rewards=[{"use": "boxed"}])
    assert plan.way == "boxed"


def test_rewards_that_do_not_prefer_the_gold_answer_are_named():
    plan = planned(rewards=[{"use": "constant"}])
    [found] = [p for p in plan.findings if p.code == "P205"]
    assert found.level == "warning"
    assert "row 0 earns 0.5 and a wrong one 0.5" in found.fact
    plan = planned(rewards=[{"use": "abstains"}])
    [found] = [p for p in plan.findings if p.code == "P205"]
    assert "no reward applies" in found.fact


def test_a_reward_that_raises_on_some_rows_is_an_error_with_row_plugin_and_remedy():
    plan = planned(rewards=[{"use": "boxed"}, {"use": "raises-on-some"}])
    [found] = plan.errors
    assert found.code == "P204"
    assert "raises-on-some" in found.fact
    assert "grpokit-toy 1.2.3" in found.fact
    assert "row 7" in found.fact
    assert "rows 7, 17, 27, 37" in found.fact
    assert "KeyError" in found.fact
    assert found.remedy
    tolerant = planned(
        rewards=[{"use": "boxed"}, {"use": "raises-on-some"}], scoring={"max_error_rate": 0.5}
    )
    assert tolerant.errors == ()
    assert "P204" in codes(tolerant, "warning")


def test_a_nan_reward_is_an_error_before_training():
    plan = planned(rewards=[{"use": "nan"}])
    [found] = plan.errors
    assert found.code == "P204"
    assert "non-finite" in found.fact
    assert plan.trials[0].gold is None
    assert "non-finite" in plan.trials[0].problem


def test_a_missing_column_names_reward_plugin_and_what_is_there():
    plan = planned(rewards=[{"use": "wants-solution"}, {"use": "boxed"}])
    [found] = plan.errors
    assert found.code == "P203"
    for word in ("wants-solution", "grpokit-toy 1.2.3", "'solution'", "question, answer, level"):
        assert word in found.fact
    assert "dataset.columns" in found.remedy
    assert plan.uses[0].missing == ("solution",)


def test_a_prompt_column_that_is_missing_is_found():
    plan = planned(dataset={"use": "sums", "with": {"drop": "question"}})
    assert [p.code for p in plan.errors] == ["P202"]
    assert "'question'" in plan.errors[0].fact


def test_a_broken_row_is_found_with_its_place():
    plan = planned(dataset={"use": "sums", "with": {"bad": 8}})
    assert [p.code for p in plan.errors] == ["P201"]
    assert plan.errors[0].fact.startswith("sums.jsonl:8")
    assert plan.errors[0].remedy == "repair it"


def test_the_held_out_data_set_is_checked_too():
    plan = planned(eval={"dataset": {"use": "sums", "with": {"drop": "answer"}}})
    assert [p.code for p in plan.errors] == ["P203"]
    assert plan.errors[0].key.startswith("eval.") or "answer" in plan.errors[0].fact
    plan = planned(eval={"dataset": {"use": "sums", "with": {"bad": 2}}})
    assert [p.code for p in plan.errors] == ["P211"]


def test_rows_that_are_left_out_are_told(tmp_path):
    def told(*lines):
        (tmp_path / "rows.jsonl").write_text(
            "\n".join(('{"question": "?", "answer": "1"}', *lines))
        )
        found = {"use": "jsonl", "with": {"path": str(tmp_path / "rows.jsonl")}}
        found["with"]["on_bad_row"] = "skip"
        wanted = recipe(dataset=found, rewards=[{"use": "exact"}], backend={"use": "hf"})
        loaded = Loaded(recipe=wanted, name="toy", path=None, data={}, provenance={})
        plan = make_plan(loaded, Catalog.load())
        return [f"{p.level} {p.key}: {p.fact}" for p in plan.findings if p.code == "P212"]

    assert told() == []
    (one,) = told("broken")
    assert one.startswith(f"warning dataset: 1 row is left out: {tmp_path}/rows.jsonl:2: ")
    (two,) = told("broken", "[]")
    assert "2 rows are left out: the first is" in two


def test_all_problems_come_at_once_and_stop_the_run_with_the_preflight_code():
    plan = planned(
        model={"id": "elsewhere"},
        dataset={"use": "sums", "with": {"drop": "answer"}},
        rewards=[{"use": "boxed"}, {"use": "wants-solution"}],
    )
    assert [p.code for p in plan.errors] == ["T001", "P203", "P203"]
    with pytest.raises(PreflightError) as caught:
        raise_errors(plan)
    assert caught.value.exit_code is ExitCode.PREFLIGHT
    assert caught.value.problems == problem_lines(plan.errors)
    assert caught.value.remedy == f"grpokit plan {plan.name} shows the whole plan"
    with pytest.raises(PreflightError, match=r"grpokit plan 'my recipes/a\.yaml' shows"):
        raise_errors(plan, "my recipes/a.yaml")
    assert caught.value.problems[0] == (
        "model.id: T001 elsewhere is not on this machine; run `fetch it`"
    )
    assert plan.memory is None
    assert plan.rendered.startswith("[user] What is 0 + 3?")
    assert plan.rendered_tokens is None


def test_a_template_that_fails_is_an_error():
    plan = planned(backend={"use": "rejecting"})
    assert [p.code for p in plan.errors] == ["P206"]
    assert "alternating" in plan.errors[0].fact


def test_an_unknown_component_does_not_hide_the_rest():
    plan = planned(rewards=[{"use": "boxd"}], model={"id": "elsewhere"})
    assert "T001" in codes(plan, "error")
    assert "P210" in codes(plan, "error")


def test_long_prompts_are_refused_dropped_or_do_not_fit():
    limit = {"prompts": 4, "group": 16, "max_tokens": 64, "max_prompt_tokens": 3}
    [found] = planned(rollout=limit).errors
    assert found.code == "P207"
    assert "40 of the first 40 prompts are longer than 3 tokens" in found.fact
    some = check_lengths(recipe(rollout={**limit, "on_long_prompt": "drop"}), {}, [2, 9])
    assert [p.level for p in some] == ["info"]
    none_left = check_lengths(recipe(rollout={**limit, "on_long_prompt": "drop"}), {}, [8, 9])
    assert [p.level for p in none_left] == ["error"]
    [found] = check_lengths(recipe(), {"max_position_embeddings": 100}, [50])
    assert "exceed the model's 100" in found.fact
    assert found.remedy == "--set rollout.max_tokens=50"
    assert check_lengths(recipe(), {"max_position_embeddings": 114}, [50]) == []
    [found] = check_lengths(recipe(), {"max_position_embeddings": 100}, [50, 150])
    assert "row 1 (150 tokens)" in found.fact
    assert "rollout.on_long_prompt: drop" in found.remedy  # no number of new tokens helps
    dropping = recipe(rollout={**limit, "max_prompt_tokens": 40, "on_long_prompt": "drop"})
    (told,) = check_lengths(dropping, {"max_position_embeddings": 104}, [40, 150])
    assert (told.level, told.key) == ("info", "rollout.max_prompt_tokens")
    assert "(such rows are dropped)" in told.fact
    [found] = check_lengths(
        recipe(eval={"max_tokens": 512}), {"max_position_embeddings": 114}, [50]
    )
    assert found.key == "eval.max_tokens"
    assert found.remedy == "--set eval.max_tokens=64"


def test_too_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr("grpokit.compose.draft.available_memory", lambda: 2**20)
    plan = planned()
    assert "P208" in codes(plan, "warning")


def test_too_little_disk_is_an_error_when_it_is_sure(monkeypatch, tmp_path):
    monkeypatch.setattr("grpokit.compose.draft.free_disk", lambda folder: 1000)
    assert "P209" in codes(planned(tmp_path), "error")
    parts = planned(tmp_path).disk
    enough = sum(parts.values()) - parts["rollouts"] + 1
    monkeypatch.setattr("grpokit.compose.draft.free_disk", lambda folder: enough)
    assert "P209" in codes(planned(tmp_path), "warning")


def test_disk_forecast_counts_checkpoints_that_stand_at_once():
    assert checkpoint_count(recipe(train={"steps": 20, "save_every": 5, "keep": 2})) == 4
    assert checkpoint_count(recipe(train={"steps": 20, "save_every": 20, "keep": 2})) == 1
    silent = disk_forecast(recipe(train={"save_rollouts": False}), None)
    assert silent["rollouts"] == 0
    assert "checkpoints" not in silent


def test_the_machine_is_read(tmp_path):
    assert available_memory() > 2**20
    assert free_disk(tmp_path / "not" / "yet") == free_disk(tmp_path)


def test_every_code_of_the_plan_is_documented():
    assert all(code.startswith("P2") and text.endswith(".") for code, text in PLAN_CODES.items())


def test_plan_json_is_plain_data_and_complete():
    data = json.loads(json.dumps(plan_json(planned())))
    assert data["components"][0]["role"] == "dataset"
    assert data["recipe"]["rollout"]["group"] == 16
    assert data["trials"]["way"] == "boxed"
    assert data["memory"]["peak"] <= sum(data["memory"]["parts"].values())
    assert {"python", "platform", "grpokit"} <= data["environment"].keys()
    assert data["dataset_fingerprint"] == "sums-0-40-"


def test_notes_of_the_loader_become_hints():
    from grpokit.compose.diagnostics import Diagnostic

    note = Diagnostic(code="R620", message="few rows", level="note")
    loaded = Loaded(recipe=recipe(), name="toy", path=None, data={}, provenance={}, notes=(note,))
    assert "R620" in codes(make_plan(loaded, toy_catalog()), "info")


def test_a_reference_is_needed_from_beta_on():
    assert not needs_reference(recipe())
    assert needs_reference(recipe(algorithm={"use": "grpo", "with": {"beta": 0.04}}))
    assert needs_reference(recipe(), {"algorithm": {"beta": 0.1}})
    watched = {"reset": {"use": "prolong", "with": {"kl_above": 0.1}}}
    assert needs_reference(recipe(algorithm={"use": "grpo", "parts": watched}))
    part = {"regulariser": {"use": "kl", "with": {"beta": 0.1}}}
    assert needs_reference(recipe(algorithm={"use": "grpo", "parts": part}))


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("3", "4"),
        ("-1", "0"),
        ("1,234", "1235"),
        ("2.5", "3.5"),
        ("Paris", "not Paris"),
        ("", "wrong"),
    ],
)
def test_wrong_answers_are_wrong_and_of_the_same_kind(answer, wrong):
    assert wrong_answer(answer) == wrong


def test_a_number_too_long_for_python_has_a_wrong_answer_too():
    assert wrong_answer("9" * 5000) == "not " + "9" * 5000


def test_final_answer_of_a_worked_solution():
    assert final_answer("48 / 2 = 24\n48 + 24 = 72\n#### 72") == "72"
    assert final_answer(7) == "7"
    assert next(iter(ways("7", "think-answer"))) == "tags"
    assert set(ways("7")) == set(ways("7", "hash"))


def test_planning_takes_well_under_a_second():
    start = time.perf_counter()
    plan = planned()
    assert replace(plan).errors == ()
    assert time.perf_counter() - start < 1.5  # mostly the start of the reward's process

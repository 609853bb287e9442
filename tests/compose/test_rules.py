"""Each rule fires on its case, with the numbers, and is silent on a good recipe."""

import pytest

from grpokit.compose.arithmetic import arithmetic
from grpokit.compose.rules import RULES, Facts, advise, learning_rate, wilson_half_width
from grpokit.spec.recipe import Recipe

GOOD = {
    "grpokit": 1,
    "model": {"id": "m", "lora": {"rank": 32, "alpha": 64.0}},
    "dataset": {"use": "d"},
    "rewards": [{"use": "number", "weight": 1.0}, {"use": "format", "weight": 0.1}],
    "rollout": {"prompts": 4, "group": 16, "max_tokens": 512},
    "optim": {"iterations": 2},
    "eval": {"dataset": {"use": "d"}, "limit": 1319},
}


def findings(*, rows=None, parameters=None, eval_rows=None, **sections):
    data = {**GOOD}
    for key, value in sections.items():
        data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
    recipe = Recipe.model_validate(data)
    facts = Facts(
        recipe=recipe,
        arithmetic=arithmetic(recipe, rows),
        parameters=parameters,
        eval_rows=eval_rows,
    )
    return advise(facts)


def test_a_good_recipe_gets_no_advice():
    assert findings(parameters=1_700_000_000) == ()


CASES = {
    "H01": ({"rollout": {"group": 4}}, "groups of 4"),
    "H02": ({"rollout": {"group": 64}}, "groups of 64"),
    "H03": ({"train": {"steps": 40}}, "40 steps"),
    "H04": ({"rows": 99}, "99 rows"),
    "H05": ({"rollout": {"temperature": 2.0}}, "temperature 2"),
    "H06": ({"optim": {"lr": 3e-4}}, "learning rate 0.0003"),
    "H07": ({"optim": {"schedule": "cosine"}}, "schedule cosine"),
    "H08": ({"optim": {"max_grad_norm": 1.0}}, "clipped at 1"),
    "H11": ({"rows": 7473}, "1869 steps an epoch; this run makes 0.161 epochs"),
    "H12": ({"prompt": {"use": "think-answer"}, "parameters": 600_000_000}, "0.60B"),
    "H14": ({"algorithm": {"use": "grpo", "with": {"epsilon": 0.3}}}, "epsilon 0.3"),
    "H19": ({"algorithm": {"use": "grpo", "with": {"beta": 0.5}}}, "beta 0.5"),
    "H20": ({"rollout": {"max_tokens": 64}}, "64 tokens"),
    "H25": (
        {"rewards": [{"use": "number", "weight": 0.5}, {"use": "format", "weight": 1.0}]},
        "format weighs 1, correctness only 0.5",
    ),
    "H26": ({"optim": {"minibatches": 5}}, "64 completions cut into 5 parts"),
    "H27": ({"eval": {"limit": 100}}, "+-9.6 points"),
    "H37": ({"algorithm": {"use": "gfpo", "with": {"metric": "efficiency"}}}, "0 and 1"),
    "H50": ({"model": {"lora": {"rank": 32, "alpha": 8.0}}}, "alpha 8 with rank 32"),
    "H51": ({"model": {"lora": {"dropout": 0.1}}}, "dropout 0.1"),
    "H52": ({"optim": {"warmup": 0.0}}, "no warm-up"),
    "H53": ({"optim": {"iterations": 1}}, "one optimiser step"),
    "H15": ({"algorithm": {"use": "dapo", "with": {"epsilon_high": 0.5}}}, "epsilon_high 0.5"),
    "H16": ({"algorithm": {"use": "grpo", "with": {"delta": 9.0}}}, "delta 9"),
    "H21": ({"rollout": {"prompts": 32, "group": 16}}, "262,144 tokens"),
    "H23": ({"rollout": {"max_prompt_tokens": 128}}, "128 tokens"),
    "H33": ({"algorithm": {"use": "cppo/cppo", "with": {"rate": 0.9375}}}, "93.75%"),
    "H34": ({"algorithm": {"use": "cppo/cppo", "with": {"keep": 1}}}, "one completion"),
    "H35": ({"algorithm": {"use": "gspo", "with": {"epsilon": 0.2}}}, "epsilon 0.2"),
    "H36": ({"algorithm": {"use": "gmpo", "with": {"high": 0.2}}}, "high 0.2"),
    "H39": ({"algorithm": {"use": "dapo", "with": {"max_rounds": 50}}}, "max_rounds 50"),
    "H40": (
        {"algorithm": {"use": "dapo", "with": {"overlong_cache": 400}}},
        "400 tokens before 512",
    ),
    "H42": ({"algorithm": {"use": "prorl", "with": {"epsilon_high": 0.2}}}, "epsilon_high 0.2"),
    "H43": (
        {"algorithm": {"parts": {"correction": {"use": "truncate", "with": {"cap": 9.0}}}}},
        "cap 9",
    ),
    "H47": (
        {"algorithm": {"parts": {"sampler": {"use": "hardest", "with": {"share": 0.5}}}}},
        "share 0.5",
    ),
    "H57": ({"algorithm": {"use": "qrpo", "with": {"beta": 0.01}}}, "beta 0.01"),
}


def test_every_rule_has_a_case():
    assert {rule.id for rule in RULES} == CASES.keys()


@pytest.mark.parametrize("code", CASES)
def test_rule_fires_and_names_the_numbers(code):
    changes, said = CASES[code]
    found = [problem for problem in findings(**changes) if problem.code == code]
    assert len(found) == 1
    assert said in found[0].fact
    assert found[0].key
    assert found[0].fact.endswith(")")  # the source
    if found[0].level != "info":
        assert found[0].remedy


def test_the_authors_values_are_content():
    written = {
        "gspo": {"epsilon": 3e-4},
        "dapo": {"epsilon_high": 0.28, "overlong_cache": 100, "max_rounds": 10},
        "cppo/cppo": {"rate": 0.875},
        "gfpo": {"keep": 8},
        "gmpo": {"low": 0.4, "high": 0.4},
        "qrpo": {"beta": 0.003},
    }
    for use, settings in written.items():
        assert findings(algorithm={"use": use, "with": settings}) == (), use
    kept = [p.code for p in findings(algorithm={"use": "gfpo", "with": {"keep": 12}})]
    assert kept == ["H37"]


def test_sampling_with_an_engine_is_not_advised_twice():
    many = {"prompts": 32, "group": 16}
    assert [p.code for p in findings(rollout=many)] == ["H21"]
    assert findings(rollout=many, backend={"use": "hf", "with": {"rollouts": "vllm"}}) == ()
    assert findings(rollout=many, backend={"use": "unsloth"}) == ()


def test_warnings_stand_before_hints():
    levels = [p.level for p in findings(rows=99, rollout={"group": 4}, train={"steps": 40})]
    assert levels == sorted(levels, key=["error", "warning", "info"].index)
    assert levels[0] == "warning"
    assert levels[-1] == "info"


def test_few_held_out_questions_count_by_the_smaller_of_limit_and_rows():
    found = [p for p in findings(eval_rows=30, eval={"limit": 1319}) if p.code == "H27"]
    assert found[0].level == "warning"
    assert "30 held-out questions" in found[0].fact
    found = [p for p in findings(eval={"limit": 200}) if p.code == "H27"]
    assert found[0].level == "info"


def test_few_rows_are_a_warning_and_some_a_hint():
    levels = {
        rows: [p.level for p in findings(rows=rows) if p.code == "H04"] for rows in (99, 100, 499)
    }
    assert levels == {99: ["warning"], 100: ["info"], 499: ["info"]}
    assert not [p for p in findings(rows=500) if p.code == "H04"]


def test_learning_rate_default_depends_on_the_adapter():
    assert learning_rate(Recipe.model_validate(GOOD)) == 5e-6
    full = {**GOOD, "model": {"id": "m", "lora": None}}
    assert learning_rate(Recipe.model_validate(full)) == 1e-6


def test_half_width_of_a_hundred_questions_is_about_ten_points():
    assert wilson_half_width(100) == pytest.approx(0.096, abs=5e-4)
    assert wilson_half_width(1319) == pytest.approx(0.027, abs=5e-4)

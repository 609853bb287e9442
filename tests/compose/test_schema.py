"""The JSON Schema: valid by itself, knows the installed components, agrees with the check."""

import json
from pathlib import Path

import jsonschema
import pytest

from grpokit.compose.diagnostics import Report
from grpokit.compose.files import read_recipe
from grpokit.compose.library import Library
from grpokit.compose.nodes import to_data
from grpokit.compose.schema import modeline, recipe_schema
from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord
from grpokit.spec.components import RewardSpec

BAD = Path(__file__).parent / "bad_recipes"


@pytest.fixture(scope="module")
def schema():
    return recipe_schema(Catalog.load())


@pytest.fixture(scope="module")
def validator(schema):
    return jsonschema.Draft202012Validator(schema)


def data(file):
    report = Report()
    tree = read_recipe(file, file.name, report)
    return None if tree is None else to_data(tree)


def test_it_is_a_schema_and_json(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert json.loads(json.dumps(schema)) == schema


def test_every_recipe_of_the_library_fits(validator):
    for found in Library(Catalog.load(), Path.cwd()).named.values():
        errors = [error.message for error in validator.iter_errors(data(found.path))]
        assert not errors, (found.name, errors)


def test_fields_are_described(schema):
    group = schema["$defs"]["RolloutSection"]["properties"]["group"]
    assert group["description"].startswith("Completions a prompt")
    assert (group["type"], group["minimum"], group["default"]) == ("integer", 1, 8)


def test_names_of_installed_components(schema):
    names = schema["$defs"]["DatasetSection"]["properties"]["use"]["enum"]
    assert {"arithmetic", "jsonl", "inline", "hub", "hf/hub"} <= set(names)
    algorithms = schema["$defs"]["AlgorithmSection"]["properties"]
    assert "grpo" in algorithms["use"]["enum"]
    assert "clip" not in algorithms["use"]["enum"]
    assert "clip" in algorithms["parts"]["properties"]
    clips = schema["$defs"]["Part.clip"]["properties"]["use"]["enum"]
    assert {"clip", "cispo-weight", "gmpo-clip"} <= set(clips)


GOOD = {
    "grpokit": 1,
    "model": {"id": "x"},
    "dataset": {"use": "arithmetic"},
    "rewards": [{"use": "number"}],
}


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"algorithm": {"with": {"epsilon": 0.3}}}, True),
        ({"algorithm": {"use": "grpo", "with": {"epsilom": 0.3}}}, False),
        ({"algorithm": {"with": {"epsilom": 0.3}}}, False),
        ({"algorithm": {"with": {"epsilon": "0.3"}}}, False),
        ({"algorithm": {"parts": {"mask": {"use": "finished-mask"}}}}, True),
        ({"algorithm": {"parts": {"mask": {"use": "clip"}}}}, False),
        ({"algorithm": {"parts": {"masks": {"use": "finished-mask"}}}}, False),
        ({"algorithm": {"parts": {"mask": {"use": "finished-mask", "with": {"a": 1}}}}}, False),
        ({"rewards": [{"use": "format", "with": {"boxed": True}}]}, True),
        ({"rewards": [{"use": "format", "with": {"boxd": True}}]}, False),
        ({"rewards": []}, False),
        ({"rewards": [{"weight": 1}]}, False),
        ({"dataset": {"use": "hub", "with": {"level": 3}}}, False),
        ({"eval": {"dataset": {"use": "arithmetic", "with": {"split": "test"}}}}, True),
        ({"eval": {"dataset": {"use": "arithmetic", "with": {"spilt": "test"}}}}, False),
        ({"prompt": {"use": "boxd"}}, False),
        ({"model": {}}, False),
        ({"model": {"lora": {"rank": 4}}, "extends": "quickstart"}, True),
        ({"extends": ["a", "./b.yaml"]}, True),
        ({"extends": 3}, False),
        ({"grpokit": 2}, False),
        ({"steps": 3}, False),
        ({"callbacks": [{"use": "nothing"}]}, False),
    ],
)
def test_what_fits_and_what_does_not(validator, changes, fits):
    assert validator.is_valid({**GOOD, **changes}) is fits


def test_a_recipe_that_extends_may_leave_sections_out(validator):
    assert validator.is_valid({"grpokit": 1, "extends": "quickstart"})
    assert not validator.is_valid({"grpokit": 1})


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in sorted(BAD.glob("*.yaml"))
        if {item[:4] for item in file.read_text(encoding="utf-8").partition("\n")[0].split()[2:]}
        <= {"K401", "K402", "K404", "K405", "K406", "K408", "K409", "K410", "C501", "C509", "K412"}
        and "extends" not in file.stem
    ],
    ids=lambda file: file.stem,
)
def test_what_the_check_refuses_the_schema_refuses_too(validator, file):
    assert not validator.is_valid(data(file))


def test_a_plugins_component_is_in_it():
    spec = RewardSpec(name="polite", summary="Kind words.", target="m:a", config="nowhere_at_all:C")
    plugin = PluginRecord(
        name="extra", distribution="grpokit-extra", version="1", module="m", state="loaded", specs=(spec,)
    )  # fmt: skip
    schema = recipe_schema(Catalog((*Catalog.load().plugins, plugin)))
    use = schema["$defs"]["RewardSection"]["properties"]["use"]
    assert {"polite", "extra/polite"} <= set(use["anyOf"][0]["enum"])
    assert "Kind words." in use["markdownDescription"]
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_modeline():
    assert modeline("recipe.schema.json") == "# yaml-language-server: $schema=recipe.schema.json"

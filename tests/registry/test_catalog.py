"""Names and ids: what a recipe can write, and what it is told when that means nothing."""

import pytest

from grpokit.api import DatasetSpec, RewardSpec
from grpokit.errors import ComponentError
from grpokit.registry.catalog import Catalog
from grpokit.registry.discover import PluginRecord, plugin_name


def record(name, *specs, state="loaded", reason="", **more):
    base = {"distribution": f"grpokit-{name}", "version": "1.0", "module": f"{name}.hooks"}
    return PluginRecord(name=name, specs=specs, state=state, reason=reason, **(base | more))


def reward(name):
    return RewardSpec(name=name, summary=f"{name}.", target="m:f")


CATALOG = Catalog(
    [
        record("grpokit", reward("exact"), reward("format"), distribution="grpokit"),
        record(
            "math",
            reward("boxed"),
            reward("exact"),
            DatasetSpec(name="gsm8k", summary="", target="m:d"),
        ),
        record("code", reward("boxed"), reward("runs")),
        record("trees", state="broken", reason="no module"),
    ]
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("exact", "exact"),  # core's, whatever plugins define
        ("grpokit/exact", "exact"),
        ("math/exact", "math/exact"),
        ("runs", "code/runs"),
        ("code/runs", "code/runs"),
        ("math/boxed", "math/boxed"),
    ],
)
def test_a_name_means_one_component(name, found):
    entry = CATALOG.find("reward", name)
    assert (entry.id, entry.kind) == (found, "reward")


def test_an_ambiguous_name_lists_the_ids():
    with pytest.raises(ComponentError) as caught:
        CATALOG.find("reward", "boxed")
    assert str(caught.value) == (
        "the reward name 'boxed' is ambiguous: math/boxed, code/boxed; write one of these ids"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("reward", "exakt", "there is no reward 'exakt'; did you mean 'exact'?"),
        ("reward", "math/bxed", "did you mean 'math/boxed'"),
        ("reward", "gsm8k", "'math/gsm8k' is a dataset"),
        ("reward", "trees/depth", "(trees: broken, no module)"),
        ("reward", "zzz", "plugins that are not loaded: trees: broken, no module"),
        ("reward", "zzz", "`grpokit plugins list --kind reward`"),
        ("reward", "nope/zzz", "no plugin 'nope' is installed"),
        ("backend", "hf", "there is no backend 'hf'"),
        ("reward", "grpokit/boxed", "there is no reward 'grpokit/boxed'"),
        ("reward", "", "there is no reward ''"),
    ],
)
def test_an_unknown_name_says_what_could_be_meant(kind, name, told):
    with pytest.raises(ComponentError) as caught:
        CATALOG.find(kind, name)
    assert told in str(caught.value)


def test_entries_are_in_table_order():
    assert [entry.id for entry in CATALOG.entries()] == (
        ["math/gsm8k", "exact", "format", "math/boxed", "math/exact", "code/boxed", "code/runs"]
    )


def test_recipe_folders_name_their_plugin(tmp_path):
    catalog = Catalog([record("a", recipes=(tmp_path,)), record("b")])
    assert catalog.recipe_folders() == (("a", tmp_path),)


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("grpokit-math", "math"),
        ("GRPOKIT_Math.Extra", "math-extra"),
        ("my_rewards", "my-rewards"),
        ("grpokit", "grpokit"),
        ("grpokit-grpokit", "grpokit"),
        ("notgrpokit-x", "notgrpokit-x"),
    ],
)
def test_plugin_names(distribution, name):
    assert plugin_name(distribution) == name


def test_core_is_the_first_plugin_and_brings_its_recipes():
    catalog = Catalog.load({"GRPOKIT_PLUGINS": ""})
    assert [(plugin.name, plugin.state) for plugin in catalog.plugins if plugin.loaded] == [
        ("grpokit", "loaded")
    ]
    assert catalog.find("algorithm", "grpo").spec.paper == "2402.03300"
    assert [name for name, _ in catalog.recipe_folders()] == ["grpokit"]

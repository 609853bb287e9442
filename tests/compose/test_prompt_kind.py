"""Prompt templates of plugins: named, checked, put into the recipe word for word, and recorded."""

import dataclasses
import json

import pytest

from grpokit.builtins.prompts import SPECS
from grpokit.cli.plugins import component_data
from grpokit.compose.columns import placeholders
from grpokit.compose.diagnostics import RecipeProblems
from grpokit.compose.load import load_recipe, resolved
from grpokit.compose.prompts import TEMPLATES, build_messages
from grpokit.compose.records import component_records
from grpokit.compose.schema import recipe_schema
from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord
from grpokit.registry.resolve import source_hash
from grpokit.registry.validate import spec_problems
from grpokit.spec.components import PromptSpec

RECIPE = """\
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
prompt: {use: verse/couplet}
rewards: [{use: number}]
"""
COUPLET = PromptSpec(
    name="couplet",
    summary="In rhymes.",
    user="{question} Rhyme, and end with \\boxed{{}}.",
    system="You speak in rhymes.",
    examples=(("1 + 1?", "One and one are two: \\boxed{2}"),),
)
ROW = {"question": "How much is {1} + 2?"}


def plugin(name, *specs):
    return PluginRecord(
        name=name,
        distribution=f"grpokit-{name}",
        version="1.2",
        module=f"{name}_module",
        state="loaded",
        reason="",
        specs=specs,
    )


@pytest.fixture
def load(tmp_path):
    base = [p for p in Catalog.load().plugins if p.name in {"grpokit", "hf"}]

    def run(text, *plugins):
        (tmp_path / "r.yaml").write_text(text)
        catalog = Catalog((*base, *(plugins or (plugin("verse", COUPLET),))))
        return load_recipe("r.yaml", catalog=catalog, cwd=tmp_path), catalog

    return run


def problem(load, *arguments):
    with pytest.raises(RecipeProblems) as caught:
        load(*arguments)
    (found,) = caught.value.diagnostics
    return found


def test_the_words_of_a_plugin_s_prompt_are_in_the_recipe(load):
    for name in ("verse/couplet", "couplet"):
        loaded, _ = load(RECIPE.replace("verse/couplet", name))
        assert build_messages(loaded.recipe.prompt, ROW) == (
            {"role": "system", "content": "You speak in rhymes."},
            {"role": "user", "content": "1 + 1? Rhyme, and end with \\boxed{}."},
            {"role": "assistant", "content": "One and one are two: \\boxed{2}"},
            {"role": "user", "content": "How much is {1} + 2? Rhyme, and end with \\boxed{}."},
        )
    assert loaded.data["prompt"] == {"use": "couplet"}
    assert resolved(loaded)["prompt"]["template"] == COUPLET.user
    origin = "prompt verse/couplet (grpokit-verse 1.2)"
    assert loaded.provenance["prompt.template"] == origin
    assert loaded.provenance["prompt.examples.0.answer"] == origin
    short, _ = load(RECIPE, plugin("verse", dataclasses.replace(COUPLET, system="", examples=())))
    assert short.provenance["prompt.examples"] == "default"
    assert short.provenance["prompt.system"] == origin
    assert not loaded.notes


def test_each_message_can_be_replaced(load):
    text = RECIPE.replace("couplet}", 'couplet, system: "", examples: []}')
    (message,) = build_messages(load(text)[0].recipe.prompt, ROW)
    assert message["content"].startswith("How much is {1} + 2? Rhyme")
    text = RECIPE.replace("couplet}", 'couplet, template: "{problem}!", examples: []}')
    loaded, _ = load(text)
    row = {"problem": "2"}
    assert [m["content"] for m in build_messages(loaded.recipe.prompt, row | ROW)][-1] == "2!"
    assert loaded.provenance["prompt.template"].startswith("r.yaml:")


def test_a_resolved_recipe_reads_as_the_same_and_without_a_note(load):
    """A run records the resolved recipe; it is read again by `eval` and on resumption."""
    first, _ = load(RECIPE)
    again, _ = load(json.dumps(resolved(first)))
    assert again.recipe.prompt == first.recipe.prompt
    assert not [note for note in again.notes if "prompt.use" in note.message]
    changed = plugin("verse", dataclasses.replace(COUPLET, user="{question} Other words."))
    later, _ = load(json.dumps(resolved(first)), changed)
    assert later.recipe.prompt == first.recipe.prompt


@pytest.mark.parametrize("use", ["verse/couplet", "boxed"])
@pytest.mark.parametrize("other", ["verse/haiku", "hash", "plain"])
def test_another_prompt_for_a_finished_run_is_used_and_no_word_of_the_first(
    load, tmp_path, use, other
):
    """As in `grpokit eval RUN --set prompt.use=OTHER`."""
    haiku = dataclasses.replace(COUPLET, name="haiku", user="{question} In 17.", examples=())
    verse = plugin("verse", COUPLET, haiku)
    first, catalog = load(RECIPE.replace("verse/couplet", use), verse)
    (tmp_path / "run.yaml").write_text(json.dumps(resolved(first)))
    loaded = load_recipe(
        "run.yaml", overrides=[f"prompt.use={other}"], catalog=catalog, cwd=tmp_path
    )
    asked, _ = load(RECIPE.replace("verse/couplet", other), verse)
    assert build_messages(loaded.recipe.prompt, ROW) == build_messages(asked.recipe.prompt, ROW)
    assert not [note for note in loaded.notes if "prompt.use" in note.message]


def test_a_name_beside_both_messages_is_told_to_have_no_effect(load):
    """R616: a run's record looks like this too, with a plugin's name; that is no mistake."""
    texts = 'system: Add., template: "{question}"}'
    loaded, _ = load(RECIPE.replace("verse/couplet}", f"boxed, {texts}"))
    (note,) = loaded.notes
    assert (note.code, note.line) == ("R616", 4)
    assert "prompt.use has no effect" in note.message
    assert not load(RECIPE.replace("couplet}", f"couplet, {texts}"))[0].notes


def test_the_record_of_a_run_has_the_prompt_and_a_hash_of_its_words(load):
    loaded, catalog = load(RECIPE)
    records, problems = component_records(loaded, catalog)
    (found,) = [record for record in records if record.kind == "prompt"]
    assert (found.role, found.id, found.version) == ("prompt", "verse/couplet", "1.2")
    other = Catalog([plugin("verse", dataclasses.replace(COUPLET, system="Sing."))])
    assert found.source_hash == source_hash(catalog.find("prompt", "verse/couplet"))
    assert found.source_hash != source_hash(other.find("prompt", "verse/couplet"))
    assert not problems
    plain, catalog = load(RECIPE.replace("verse/couplet", "boxed"))
    assert not [r for r in component_records(plain, catalog)[0] if r.kind == "prompt"]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("verse/cuplet", "C509", "did you mean `verse/couplet`?"),
        ("coplet", "C509", "did you mean `verse/couplet`?"),
        ("boxd", "C509", "did you mean `boxed`?"),
        ("number", "C509", "choose one"),
        ("math/qwen-boxed", "C504", "pip install grpokit-math"),
    ],
)
def test_names_that_mean_nothing(load, name, code, said):
    found = problem(load, RECIPE.replace("verse/couplet", name))
    assert (found.code, found.line, found.col) == (code, 4, 15)
    assert said in found.remedy


def test_two_plugins_with_one_bare_name(load):
    both = (plugin("verse", COUPLET), plugin("song", COUPLET))
    found = problem(load, RECIPE.replace("verse/couplet", "couplet"), *both)
    assert (found.code, found.allowed) == ("C503", "verse/couplet, song/couplet")
    assert load(RECIPE, *both)[0].recipe.prompt.template == COUPLET.user
    mine = plugin("verse", dataclasses.replace(COUPLET, name="boxed"))
    assert load(RECIPE.replace("verse/couplet", "boxed"), mine)[0].recipe.prompt.template is None


def test_a_plugin_s_mistakes_are_said_with_its_name(load):
    braces = plugin("verse", dataclasses.replace(COUPLET, user="{question} \\boxed{}"))
    found = problem(load, RECIPE, braces)
    assert found.code == "R619"
    assert found.remedy == "write prompt.template yourself, and tell the author of `verse/couplet`"
    column = plugin("verse", dataclasses.replace(COUPLET, user="{poem}", examples=()))
    assert problem(load, RECIPE, column).code == "R610"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "m:f"}, "target and config must be empty"),
        ({"user": ""}, "user must be text"),
        ({"system": None}, "system must be text"),
        ({"examples": (("q",),)}, "examples must be"),
        ({"examples": [("q", "a")]}, "examples must be"),
        ({"name": "Big"}, "a name has"),
    ],
)
def test_what_a_hook_may_return(change, said):
    assert not list(spec_problems("grpokit_prompts", COUPLET))
    (found,) = spec_problems("grpokit_prompts", dataclasses.replace(COUPLET, **change))
    assert said in found


def test_the_schema_lists_them(load):
    _, catalog = load(RECIPE)
    use = recipe_schema(catalog)["$defs"]["PromptSection"]["properties"]["use"]
    assert use["enum"] == [*TEMPLATES, "couplet", "verse/couplet"]
    assert "* `verse/couplet`: In rhymes." in use["markdownDescription"]


def test_core_registers_its_own_like_everybody(load):
    _, catalog = load(RECIPE)
    found = [entry for entry in catalog.entries("prompt") if entry.plugin.name == "grpokit"]
    assert [entry.spec for entry in found] == list(SPECS)
    assert list(TEMPLATES) == [spec.name for spec in SPECS]
    data = component_data(found[1])
    assert (data["id"], data["target"], data["settings"]) == ("boxed", "", ())
    assert all(placeholders(spec.user) == ("question",) for spec in SPECS)

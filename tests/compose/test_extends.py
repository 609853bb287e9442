"""Inheritance: merging, resets, provenance, and what can go wrong with it."""

import pytest

from grpokit.compose.diagnostics import RecipeProblems, Report
from grpokit.compose.load import load_recipe
from grpokit.compose.merge import merge
from grpokit.compose.nodes import to_data
from grpokit.compose.yaml import parse_yaml
from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord

BASE = """\
grpokit: 1
summary: base
model: {id: base/model, lora: {rank: 8, alpha: 16}}
dataset: {use: arithmetic, columns: {gold: answer}, limit: 10}
prompt: {use: boxed, system: Add., template: "{question}!", examples: [{question: "1", answer: "2"}]}
rewards: [{use: number, weight: 1.0}, {use: exact, weight: 0.5}]
algorithm: {use: grpo, with: {beta: 0.1, epsilon: 0.3}, parts: {mask: {use: finished-mask}}}
optim: {lr: 1e-5, weight_decay: 0.1}
eval: {limit: 50}
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture
def load(tmp_path, catalog):
    (tmp_path / "base.yaml").write_text(BASE)

    def run(text, name="own.yaml", **options):
        (tmp_path / name).write_text(text)
        return load_recipe(name, catalog=catalog, cwd=tmp_path, **options)

    return run


def nodes(text):
    return parse_yaml(text, "x", Report())


def test_mappings_merge_and_lists_are_replaced(load):
    loaded = load("extends: ./base.yaml\nmodel: {lora: {rank: 4}}\nrewards: [{use: exact}]\n")
    recipe = loaded.recipe
    assert (recipe.model.id, recipe.model.lora.rank, recipe.model.lora.alpha) == (
        "base/model",
        4,
        16,
    )
    assert [reward.use for reward in recipe.rewards] == ["exact"]
    assert loaded.provenance["model.id"] == "base.yaml:3:13"
    assert loaded.provenance["model.lora.rank"] == "own.yaml:2:22"
    assert loaded.provenance["model.lora.dropout"] == "default"
    assert loaded.provenance["rewards.0.use"] == "own.yaml:3:17"
    assert loaded.provenance["algorithm.with.epsilon"] == "base.yaml:7:51"
    assert loaded.provenance["algorithm.with.std_eps"] == "default"
    assert "extends" not in loaded.data
    assert loaded.name == "own"


def test_left_to_right(load, tmp_path):
    (tmp_path / "small.yaml").write_text("rollout: {group: 2, prompts: 3}\nsummary: small\n")
    recipe = load("extends: [./base.yaml, small.yaml]\nrollout: {prompts: 5}\n").recipe
    assert recipe.summary == "small"
    assert (recipe.rollout.group, recipe.rollout.prompts) == (2, 5)
    assert load("extends: [small.yaml, ./base.yaml]\n").recipe.summary == "base"


def test_null_forgets_what_was_inherited(load):
    recipe = load(
        "extends: ./base.yaml\nmodel: {lora: null}\noptim: {lr: null, weight_decay: null}\n"
        "algorithm: {with: {beta: null}}\neval: {limit: null}\nprompt: null\n"
    ).recipe
    assert recipe.model.lora is None  # null means something here: no adapter
    assert recipe.optim.lr is None
    assert recipe.eval.limit is None
    assert recipe.optim.weight_decay == 0.0  # null means nothing here: the default
    assert recipe.algorithm.with_ == {"epsilon": 0.3}
    assert recipe.prompt.use == "plain"


def test_null_of_a_required_key_is_a_missing_key(load):
    with pytest.raises(RecipeProblems) as caught:
        load("extends: ./base.yaml\nmodel: {id: null}\n")
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.file, problem.line) == ("K402", "own.yaml", 2)


def test_null_without_anything_inherited_is_a_missing_value(load):
    with pytest.raises(RecipeProblems) as caught:
        load("extends: ./base.yaml\nrollout: {group: null}\n")
    assert [d.code for d in caught.value.diagnostics] == ["K403"]


def test_another_use_forgets_the_settings(load):
    recipe = load(
        "extends: ./base.yaml\ndataset: {use: inline, with: {rows: [{question: a, answer: b}]}}\n"
        "prompt: {use: hash}\n"
    ).recipe
    assert recipe.dataset.columns == {}
    assert recipe.dataset.limit == 10
    assert recipe.prompt.system is None
    assert recipe.prompt.template is None
    assert recipe.prompt.examples == []


@pytest.mark.parametrize(("use", "kept"), [("hash", False), ("plain", True)])
def test_a_prompt_without_a_template_is_plain_and_another_one_forgets_its_texts(load, use, kept):
    """The quickstart names none, and has a system message and an example."""
    prompt = load(f"extends: quickstart\nprompt: {{use: {use}}}\n").recipe.prompt
    assert (prompt.system is not None, len(prompt.examples)) == (kept, int(kept))
    own = load("extends: quickstart\nprompt: {use: hash, system: Add.}\n").recipe.prompt
    assert (own.system, own.examples) == ("Add.", [])


def test_another_algorithm_forgets_its_settings_and_keeps_replaced_parts():
    base = nodes("algorithm: {use: grpo, with: {beta: 1}, parts: {mask: {use: finished-mask}}}")
    over = nodes("algorithm: {use: gspo, with: {epsilon: 2}}")
    assert to_data(merge(base, over)) == {
        "algorithm": {"use": "gspo", "with": {"epsilon": 2}, "parts": {"mask": {"use": "finished-mask"}}}
    }  # fmt: skip
    same = nodes("algorithm: {use: grpo, with: {epsilon: 2}}")
    assert to_data(merge(base, same))["algorithm"]["with"] == {"beta": 1, "epsilon": 2}


def test_files_are_relative_to_the_recipe_that_names_them(load, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "mid.yaml").write_text("extends: ../base.yaml\nsummary: mid\n")
    loaded = load("extends: inner/mid.yaml\n")
    assert loaded.recipe.summary == "mid"
    assert loaded.provenance["summary"] == "inner/mid.yaml:2:10"


def test_a_recipe_of_the_library_and_one_of_a_plugin(load, tmp_path):
    assert load("extends: quickstart\nsummary: mine\n").recipe.train.seed == 42
    folder = tmp_path / "plugin-recipes"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(BASE.replace("summary: base", "summary: tiny"))
    plugin = PluginRecord(
        name="math",
        distribution="grpokit-math",
        version="1.0",
        module="m",
        state="loaded",
        recipes=(folder,),
    )
    catalog = Catalog((*Catalog.load().plugins, plugin))
    (tmp_path / "of.yaml").write_text("extends: math/tiny\nrollout: {group: 4}\n")
    loaded = load_recipe("of.yaml", catalog=catalog, cwd=tmp_path)
    assert loaded.recipe.summary == "tiny"
    assert load_recipe("math/tiny", catalog=catalog, cwd=tmp_path).name == "math/tiny"


def test_a_base_may_lack_what_the_recipe_brings(load, tmp_path):
    (tmp_path / "part.yaml").write_text("optim: {lr: 1e-6}\n")
    assert load(f"extends: part.yaml\n{BASE.replace('lr: 1e-5, ', '')}").recipe.optim.lr == 1e-6


def test_a_chain_that_is_too_long(load, tmp_path):
    for number in range(12):
        (tmp_path / f"c{number}.yaml").write_text(f"extends: c{number + 1}.yaml\n")
    (tmp_path / "c12.yaml").write_text(BASE)
    with pytest.raises(RecipeProblems) as caught:
        load("extends: c0.yaml\n")
    assert [d.code for d in caught.value.diagnostics] == ["X304"]


def test_a_fan_of_files_is_bounded(load, tmp_path):
    for number in range(7):
        names = ", ".join([f"f{number + 1}.yaml"] * 6)
        (tmp_path / f"f{number}.yaml").write_text(f"extends: [{names}]\n")
    (tmp_path / "f7.yaml").write_text(BASE)
    with pytest.raises(RecipeProblems) as caught:
        load("extends: f0.yaml\n")
    assert {d.code for d in caught.value.diagnostics} == {"X304"}


def test_what_cannot_be_read_does_not_cause_missing_keys(load, tmp_path):
    (tmp_path / "broken.yaml").write_text("grpokit: 1\nmodel: [\n")
    with pytest.raises(RecipeProblems) as caught:
        load("extends: broken.yaml\noptim: {lr: x}\n")
    found = [(d.code, d.file) for d in caught.value.diagnostics]
    assert found == [("Y201", "broken.yaml"), ("K404", "own.yaml")]

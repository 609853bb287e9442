"""``--set``: values, paths, layers."""

import pytest

from grpokit.compose.diagnostics import RecipeProblems
from grpokit.compose.load import load_recipe
from grpokit.compose.overrides import read_settings
from grpokit.errors import RecipeError
from grpokit.registry.catalog import Catalog

RECIPE = """\
grpokit: 1
model: {id: some/model, lora: {rank: 8}}
dataset: {use: arithmetic}
rewards:
  - {use: number, weight: 1.0}
  - {use: exact, weight: 0.5}
algorithm: {use: grpo, with: {beta: 0.1}}
rollout: {group: 4}
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture
def load(tmp_path, catalog):
    (tmp_path / "r.yaml").write_text(RECIPE)

    def run(*overrides):
        return load_recipe("r.yaml", overrides=overrides, catalog=catalog, cwd=tmp_path)

    return run


def test_values_are_yaml(load):
    loaded = load(
        "rollout.group=16",
        "optim.lr=1e-6",
        "summary=one: two # three",
        "prompt.template='{question}?'",
        "model.lora.targets=[q_proj, v_proj]",
        "rewards.1.weight=2",
        "algorithm.with.epsilon=0.3",
        "scoring={timeout: 3.0, isolate: false}",
        "train.out=!runs",
    )
    recipe = loaded.recipe
    assert recipe.rollout.group == 16
    assert recipe.optim.lr == 1e-6
    assert recipe.summary == "one: two # three"
    assert recipe.prompt.template == "{question}?"
    assert recipe.model.lora.targets == ["q_proj", "v_proj"]
    assert [reward.weight for reward in recipe.rewards] == [1.0, 2]
    assert recipe.algorithm.with_ == {"beta": 0.1, "epsilon": 0.3}
    assert (recipe.scoring.timeout, recipe.scoring.isolate) == (3.0, False)
    assert recipe.train.out == "!runs"
    assert loaded.provenance["rollout.group"] == "--set rollout.group"
    assert loaded.provenance["rewards.1.weight"] == "--set rewards.1.weight"
    assert loaded.provenance["rewards.0.weight"] == "r.yaml:5:27"
    assert loaded.provenance["scoring.timeout"] == "--set scoring"
    assert loaded.provenance["rollout.prompts"] == "default"


def test_the_last_one_wins(load):
    assert load("rollout.group=2", "rollout.group=3").recipe.rollout.group == 3


def test_null_resets_or_is_null_where_that_means_something(load):
    recipe = load("model.lora=null", "rollout.group=null", "algorithm.with.beta=null").recipe
    assert recipe.model.lora is None
    assert recipe.rollout.group == 8
    assert recipe.algorithm.with_ == {}
    assert load("algorithm=null").recipe.algorithm.use == "grpo"


def test_another_component_forgets_the_settings_of_the_first(load):
    loaded = load("rewards.0.use=exact", "rewards.0.name=first", "rewards.1.name=second")
    assert loaded.recipe.rewards[0].use == "exact"
    assert loaded.recipe.rewards[0].weight == 1.0


@pytest.mark.parametrize(
    ("text", "code", "place", "words"),
    [
        ("rollout.group", "X305", "--set rollout.group", "not key=value"),
        ("=3", "X305", "--set ", "no dotted key"),
        ("rollout..group=3", "X305", "--set rollout..group", "no dotted key"),
        ("rollout.grop=3", "X306", "--set rollout.grop", "did you mean `group`?"),
        ("rolout.group=3", "X306", "--set rolout.group", "did you mean `rollout`?"),
        ("rollout.group.x=3", "X306", "--set rollout.group.x", "takes no keys"),
        ("rewards.2.weight=3", "X306", "--set rewards.2.weight", "an index from 0 to 1"),
        ("rewards.first.weight=3", "X306", "--set rewards.first.weight", "2 items"),
        ("extends=quickstart", "X306", "--set extends", "cannot be set"),
        ("rollout.group=[", "Y201", "--set rollout.group", "not closed"),
        ("rollout.group='8'", "K404", "--set rollout.group", "remove the quotes"),
        ("rollout.group=yes", "K404", "--set rollout.group", "text"),
        ("scoring.isolate=no", "K405", "--set scoring.isolate", "write false"),
        ("train.seed=007", "Y213", "--set train.seed", "leading zero"),
        ("train.seed=" + "9" * 99, "Y214", "--set train.seed", "99 characters"),
        ("model.id=", "K402", "r.yaml:2:1", "lacks the key `id`"),
        ("algorithm.with.epsilom=1", "K401", "--set algorithm.with.epsilom", "`epsilon`"),
        ("algorithm.use=gpro", "C501", "--set algorithm.use", "`grpo`"),
        ("rollout.group=1", "R603", "--set rollout.group", "2 or more"),
        ("prompt.template={question}", "Y216", "--set prompt.template", "'{question}'"),
        ("summary=\x1b[31m\n", "F110", "--set summary", ""),
    ],
)  # fmt: skip
def test_problems_name_the_override(load, text, code, place, words):
    if code == "F110":  # control characters in a plain value are text; in a message they are not
        assert load(text).recipe.summary == "\x1b[31m"
        return
    with pytest.raises(RecipeProblems) as caught:
        load(text)
    (line,) = caught.value.problems
    assert line.startswith(f"{place}: {code} ")
    assert words in line


def test_problems_of_overrides_are_told_with_the_others(tmp_path, catalog):
    (tmp_path / "bad.yaml").write_text(RECIPE + "optim: {lr: '1e-6'}\n")
    with pytest.raises(RecipeProblems) as caught:
        load_recipe("bad.yaml", overrides=["a.b=1", "x"], catalog=catalog, cwd=tmp_path)
    assert [(d.code, d.file, d.line) for d in caught.value.diagnostics] == [
        ("X306", "--set a.b", 0),
        ("X305", "--set x", 0),
        ("K404", "bad.yaml", 9),
    ]


def test_settings_of_a_command_are_read_as_a_recipe_reads_them():
    """Not by YAML 1.1, to which 1e-6 is text and `no` is false."""
    pairs = ["tolerance=1e-6", "word=no", "from=[boxed, tag]", "text=a=b", "limit=null"]
    assert read_settings(pairs) == {
        "tolerance": 1e-6,
        "word": "no",
        "from": ["boxed", "tag"],
        "text": "a=b",
        "limit": None,
    }


@pytest.mark.parametrize(("pair", "said"), [("x", "'x' is not KEY=VALUE"), ("a=[1", "--with a")])
def test_a_wrong_setting_of_a_command_is_named(pair, said):
    with pytest.raises(RecipeError) as told:
        read_settings([pair])
    assert said in "\n".join([str(told.value), *told.value.problems])

"""Components that a recipe names: plugins that cannot be used, ambiguity, capabilities, columns."""

import dataclasses

import pytest

from grpokit.compose.diagnostics import RecipeProblems
from grpokit.compose.load import load_recipe
from grpokit.errors import ExitCode
from grpokit.registry.catalog import Catalog
from grpokit.registry.record import PluginRecord
from grpokit.spec.components import BackendSpec, DatasetSpec, RewardSpec

GOOD = """\
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
rewards: [{use: number}]
"""


def plugin(name, *specs, state="loaded", reason=""):
    return PluginRecord(
        name=name,
        distribution=f"grpokit-{name}",
        version="1.2",
        module=f"{name}_module",
        state=state,
        reason=reason,
        specs=specs,
    )


@pytest.fixture
def problems(tmp_path):
    base = Catalog.load().plugins

    def run(text, *plugins):
        (tmp_path / "r.yaml").write_text(text)
        with pytest.raises(RecipeProblems) as caught:
            load_recipe("r.yaml", catalog=Catalog((*base, *plugins)), cwd=tmp_path)
        return caught.value

    return run


def test_a_broken_plugin_is_said_and_is_no_mistake_of_the_recipe(problems):
    broken = plugin(
        "extra", state="broken", reason="No module named 'nowhere'; pip install nowhere"
    )
    error = problems(GOOD.replace("number", "extra/polite"), broken)
    (problem,) = error.diagnostics
    assert problem.code == "C504"
    assert "grpokit-extra 1.2 is broken" in problem.message
    assert "pip install nowhere" in problem.allowed
    assert error.exit_code == ExitCode.PREFLIGHT
    bare = problems(GOOD.replace("number", "polite"), broken).diagnostics[0]
    assert bare.code == "C504"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("vllm", "`backend: {use: hf, with: {rollouts: vllm}}`"), ("verl", "--to verl")],
)
def test_software_that_is_no_backend_leads_to_what_is_meant(problems, name, remedy):
    (problem,) = problems(f"{GOOD}backend: {{use: {name}}}\n").diagnostics
    assert problem.code == "C501"
    assert remedy in problem.remedy


@pytest.mark.parametrize("state", ["incompatible", "blocked", "conflict"])
def test_other_states_are_said_too(problems, state):
    error = problems(
        GOOD.replace("number", "extra/polite"), plugin("extra", state=state, reason="x")
    )
    assert f"is {state}" in error.problems[0]


def test_a_broken_plugin_does_not_hide_a_typing_error(problems):
    error = problems(GOOD.replace("number", "nunber"), plugin("extra", state="broken", reason="x"))
    assert [d.code for d in error.diagnostics] == ["C501"]
    assert error.exit_code == ExitCode.USAGE


def test_with_a_mistake_beside_it_the_recipe_is_wrong(problems):
    broken = plugin("extra", state="broken", reason="x")
    error = problems(GOOD.replace("number", "extra/polite") + "rolout: {}\n", broken)
    assert {d.code for d in error.diagnostics} == {"C504", "K401"}
    assert error.exit_code == ExitCode.USAGE


def test_an_ambiguous_name_lists_the_ids(problems):
    spec = RewardSpec(name="polite", summary="s", target="m:a")
    error = problems(GOOD.replace("number", "polite"), plugin("one", spec), plugin("two", spec))
    (problem,) = error.diagnostics
    assert (problem.code, problem.allowed) == ("C503", "one/polite, two/polite")


def test_settings_whose_code_fails(problems):
    spec = RewardSpec(name="polite", summary="s", target="m:a", config="no_such_module_here:Model")
    error = problems(GOOD.replace("number", "extra/polite"), plugin("extra", spec))
    (problem,) = error.diagnostics
    assert problem.code == "C506"
    assert "no_such_module_here" in problem.message
    assert error.exit_code == ExitCode.PREFLIGHT


def test_a_validator_of_a_plugin_that_fails(problems, tmp_path, monkeypatch):
    (tmp_path / "careless_plugin.py").write_text(
        "from pydantic import field_validator\n"
        "from grpokit.api import Config\n"
        "class Careless(Config):\n"
        "    words: list[str] = []\n"
        "    @field_validator('words')\n"
        "    @classmethod\n"
        "    def first(cls, words):\n"
        "        return [words[0]]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = RewardSpec(name="polite", summary="s", target="m:a", config="careless_plugin:Careless")
    text = GOOD.replace("number", "polite, with: {words: []}")
    (problem,) = problems(text, plugin("extra", spec)).diagnostics
    assert problem.code == "C506"
    assert "IndexError" in problem.message
    assert "grpokit-extra 1.2" in problem.message


def test_capabilities_are_matched(problems):
    poor = BackendSpec(
        name="poor", summary="s", target="m:a", provides=frozenset({"logprobs", "custom-loss"})
    )
    text = GOOD + "backend: {use: poor}\noptim: {minibatches: 2}\nalgorithm: {with: {beta: 0.1}}\n"
    error = problems(text, plugin("extra", poor))
    said = {
        (d.code, d.line, d.message.partition("`")[2].partition("`")[0]) for d in error.diagnostics
    }
    assert {code for code, *_ in said} == {"C510"}
    needs = " ".join(d.message for d in error.diagnostics)
    for capability in ("`lora`", "`old-logprobs`", "`reference`"):
        assert capability in needs
    full = problems(text.replace("some/model", "some/model, lora: null"), plugin("extra", poor))
    assert any("`full`" in d.message for d in full.diagnostics)


def test_a_reward_that_asks_for_a_column_which_is_not_there(problems):
    data = DatasetSpec(name="poems", summary="s", target="m:a", columns=("title", "text"))
    reward = RewardSpec(name="rhymes", summary="s", target="m:a", columns=("text", "scheme"))
    text = GOOD.replace("arithmetic", "poems").replace("number", "rhymes")
    error = problems(text + "prompt: {template: '{title}'}\n", plugin("extra", data, reward))
    (problem,) = error.diagnostics
    assert (problem.code, problem.line, problem.col) == ("R611", 4, 17)
    assert "`scheme`" in problem.message
    held_out = "eval: {dataset: {use: poems, columns: {scheme: title}}}\n"
    again = problems(
        text + "prompt: {template: '{title}'}\n" + held_out, plugin("extra", data, reward)
    )
    assert len(again.diagnostics) == 1  # the held-out data set has it, the training one has not


def test_numbers_of_a_group_follow_the_part_that_is_used(tmp_path, problems):
    algorithms = [e.spec for e in Catalog.load().entries("algorithm") if e.spec.axis == "advantage"]
    lonely = dataclasses.replace(algorithms[0], name="lonely", min_group=1)
    text = GOOD + "algorithm: {parts: {advantage: {use: lonely}}}\nrollout: {group: 1}\n"
    (tmp_path / "r.yaml").write_text(text)
    catalog = Catalog((*Catalog.load().plugins, plugin("extra", lonely)))
    assert load_recipe("r.yaml", catalog=catalog, cwd=tmp_path).recipe.rollout.group == 1
    same = text.replace("lonely", "group-zscore")
    assert [d.code for d in problems(same).diagnostics] == ["R603"]


def test_a_default_component_that_is_not_installed_is_said_where_there_is_no_line(tmp_path):
    core = [record for record in Catalog.load().plugins if record.name == "grpokit"]
    (tmp_path / "r.yaml").write_text(GOOD)
    with pytest.raises(RecipeProblems) as caught:
        load_recipe("r.yaml", catalog=Catalog(core), cwd=tmp_path)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.line) == ("C504", 1)
    assert problem.remedy.startswith("pip install grpokit-hf; `grpokit doctor")


def test_another_trainers_reward_is_read_and_told(tmp_path):
    (tmp_path / "theirs.py").write_text("def f(completions, answer):\n    raise SystemExit\n")
    use = f"trl:{tmp_path}/theirs.py:f"
    (tmp_path / "r.yaml").write_text(GOOD.replace("number", f"'{use}'"))
    plugins = Catalog.load().plugins
    agreed = Catalog(plugins, foreign_rewards=True)
    (note,) = load_recipe(str(tmp_path / "r.yaml"), catalog=agreed).notes
    assert (note.code, note.level, note.line, note.col) == ("C513", "note", 4, 17)
    assert "read as TRL: f(completions, answer) -> list, completions as text" in note.message
    with pytest.raises(RecipeProblems) as caught:
        load_recipe(str(tmp_path / "r.yaml"), catalog=Catalog(plugins))
    (problem,) = caught.value.diagnostics
    assert problem.code == "C512"
    assert "--allow-foreign-rewards" in problem.remedy
    (tmp_path / "r.yaml").write_text(GOOD.replace("number", f"'{use}', with: {{x: 1}}"))
    with pytest.raises(RecipeProblems, match="1 problem") as caught:
        load_recipe(str(tmp_path / "r.yaml"), catalog=agreed)
    assert [each.code for each in caught.value.diagnostics if each.level == "error"] == ["K401"]

"""Good recipes, notes, the names a recipe can be called by, and rules between values."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from grpokit.compose.diagnostics import CODES, RecipeProblems
from grpokit.compose.diff import diff_recipes
from grpokit.compose.library import Library
from grpokit.compose.load import load_recipe, resolved
from grpokit.compose.write import to_yaml
from grpokit.registry.catalog import Catalog

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
GOOD = """\
grpokit: 1
model: {id: some/model}
dataset: {use: arithmetic}
rewards: [{use: number}]
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load()


@pytest.fixture
def load(tmp_path, catalog):
    def run(text):
        (tmp_path / "r.yaml").write_text(text)
        return load_recipe("r.yaml", catalog=catalog, cwd=tmp_path)

    return run


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_our_recipes_check_by_name_and_by_path(file, catalog, tmp_path):
    by_name = load_recipe(file.stem, catalog=catalog, cwd=tmp_path)
    by_path = load_recipe(str(file), catalog=catalog)
    assert by_name.recipe == by_path.recipe
    assert by_name.name == file.stem
    assert by_name.recipe.summary
    # Full training in bfloat16 is meant where a recipe repeats a paper, and its memory is worth a note.
    meant = {"R614"} if "qwen" in file.stem and "cppo" in file.stem else set()
    assert {note.code for note in by_name.notes} == meant


def test_plugins_recipes_check_too(catalog):
    names = Library(catalog, Path.cwd()).named
    assert set(names) >= {file.stem for file in RECIPES}
    for name in names:
        assert load_recipe(name, catalog=catalog).name == name


def test_the_gsm8k_recipe_is_the_one_of_the_design(catalog):
    recipe = load_recipe("gsm8k-qwen", catalog=catalog).recipe
    assert recipe.model.id == "Qwen/Qwen3-0.6B"
    assert (recipe.model.lora.rank, recipe.model.lora.alpha) == (32, 64)
    assert recipe.dataset.with_ == {"id": "openai/gsm8k", "name": "main", "split": "train"}
    assert [(r.use, r.weight) for r in recipe.rewards] == [("number", 1.0), ("format", 0.1)]
    assert recipe.algorithm.with_ == {"epsilon": 0.2, "beta": 0.0}
    assert (recipe.rollout.prompts, recipe.rollout.group, recipe.rollout.max_tokens) == (4, 8, 512)
    assert (recipe.optim.lr, recipe.optim.warmup, recipe.optim.max_grad_norm) == (5e-6, 0.1, 0.2)
    assert (recipe.train.steps, recipe.train.save_every, recipe.train.seed) == (300, 50, 42)
    assert (recipe.eval.limit, recipe.eval.every) == (200, 50)


def test_the_local_recipe_differs_in_its_data_only(catalog):
    hub, local = (load_recipe(name, catalog=catalog) for name in ("gsm8k-qwen", "gsm8k-local"))
    changed = {d.key.partition(".with")[0] for d in diff_recipes(hub, local)}
    assert changed == {"summary", "dataset", "dataset.use", "eval.dataset", "eval.dataset.use"} - {
        key for key in ("dataset", "eval.dataset") if key not in changed
    }


def test_every_value_has_an_origin(load):
    loaded = load(GOOD + "rollout: {group: 4}\n")
    values = resolved(loaded)

    def leaves(value, prefix=""):
        if isinstance(value, dict) and value:
            return [x for k, v in value.items() for x in leaves(v, f"{prefix}{k}.")]
        if isinstance(value, list) and value:
            return [x for i, v in enumerate(value) for x in leaves(v, f"{prefix}{i}.")]
        return [prefix[:-1]]

    assert set(loaded.provenance) == set(leaves(values))
    assert loaded.provenance["rollout.group"] == "r.yaml:5:18"
    assert loaded.provenance["rollout.prompts"] == "default"
    assert values["algorithm"]["with"]["epsilon"] == 0.2
    assert loaded.provenance["algorithm.with.epsilon"] == "default"


def test_the_resolved_recipe_is_a_recipe_that_means_the_same(load, catalog, tmp_path):
    loaded = load_recipe("quickstart", catalog=catalog)
    again = load(to_yaml(resolved(loaded)))
    assert resolved(again) == resolved(loaded)
    saved = loaded.recipe.model_dump(mode="json", by_alias=True)
    assert load(to_yaml(saved)).recipe == loaded.recipe
    assert load(yaml.safe_dump(saved)).recipe == loaded.recipe


def test_a_long_form_of_everything(load):
    recipe = load(
        GOOD
        + "optim: {lr: 1e-6, betas: [0, 0.9], warmup: 3, iterations: 2, minibatches: 2}\n"
        + "train: {save_every: 10000}\n"
        + "prompt:\n  template: |\n    {question}\n    Answer with {{braces}}.\n"
        + "eval: {dataset: {use: arithmetic, with: {split: test}}, every: 5}\n"
        + "algorithm: {parts: {mask: {use: finished-mask}}}\n"
    ).recipe
    assert recipe.optim.betas == (0, 0.9)
    assert recipe.optim.lr == 1e-6
    assert recipe.prompt.template == "{question}\nAnswer with {{braces}}.\n"
    assert recipe.train.save_every > recipe.train.steps  # fine: the last step is always saved


NOTES = [
    ("rollout: {prompts: 1, group: 2}\noptim: {micro_batch: 8}\n", "R608", "has 2 completions"),
    ("optim: {schedule: constant, warmup: 0.2}\n", "R616", "schedule `constant` has no warm-up"),
    ("optim: {micro_batch: 2, micro_tokens: 100}\n", "R616", "micro_batch is set"),
    ("rollout: {on_long_prompt: drop}\n", "R616", "no prompt is too long"),
    ("eval: {top_p: 0.5}\n", "R616", "greedy"),
    ("prompt: {use: boxed, system: a, template: '{question}'}\n", "R616", "replace both"),
    ("eval: {dataset: {use: arithmetic}}\n", "R617", "same rows"),
    ("rollout: {prompts: 3}\ntrain: {processes: 2}\n", "R625", "draws 1 groups"),
]


@pytest.mark.parametrize(("text", "code", "words"), NOTES)
def test_notes_do_not_stop_a_run(load, text, code, words):
    (note,) = load(GOOD + text).notes
    assert note.code == code
    assert note.level == "note"
    assert words in str(note)
    assert " note: " in str(note)


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (GOOD.replace("arithmetic}", "arithmetic, limit: 2}"), ["R620"]),
        (GOOD.replace("some/model}", "some/model, lora: null, dtype: bfloat16}"), ["R614"]),
        (GOOD.replace("some/model}", "./folder, revision: main}"), ["R616"]),
        (GOOD + "optim: {schedule: constant}\n", []),
        (GOOD + "eval: {temperature: 0.7, top_p: 0.9}\n", []),
    ],
)
def test_more_notes(load, text, codes):
    assert [note.code for note in load(text).notes] == codes


def test_rules_run_also_where_another_section_is_wrong(tmp_path, catalog):
    text = GOOD.replace("[{use: number}]", "[{use: number, weight: 0}]") + (
        "rollout: {group: 1}\noptim: {lr: fast}\n"
    )
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeProblems) as caught:
        load_recipe("r.yaml", catalog=catalog, cwd=tmp_path)
    assert [d.code for d in caught.value.diagnostics] == ["R602", "R603", "K404"]


def test_codes_are_grouped_and_described():
    assert all(code[0] in "FYXKCR" and code[1:].isdigit() and len(code) == 4 for code in CODES)
    assert all(text[0].isupper() or text[0] == "`" for text in CODES.values())
    assert all(text.endswith(".") for text in CODES.values())


def test_checking_imports_no_torch(tmp_path):
    script = (
        "import sys; from grpokit.cli.main import main\n"
        "codes = [main(['recipes', *args]) for args in (['list'], ['check', 'quickstart'],\n"
        "    ['show', 'quickstart', '--resolved'], ['diff', 'quickstart', 'gsm8k-qwen'], ['schema'])]\n"
        "assert codes == [0] * 5, codes\n"
        "heavy = {'torch', 'transformers', 'numpy', 'datasets', 'peft'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr

"""Exports to axolotl: its own schema takes the file, its own loaders find rewards and data."""

from __future__ import annotations

import json

import pytest
import yaml

from exported import CATALOG, ROOT, algorithm, python, recipe
from grpokit.errors import PreflightError
from grpokit.export.folder import export_recipe

needs_axolotl = pytest.mark.skipif(
    not (ROOT / ".venv/axolotl/axolotl").exists(),
    reason="tests/requirements-axolotl.txt is not installed",
)

# Real code of axolotl but for two modules that its reward loader imports and never calls: the trainer
# and its arguments need the TRL that axolotl pins. Packages are entered past their __init__, which
# import all of axolotl's dependencies.
CHECK = """
import importlib, json, pathlib, sys, types, warnings
warnings.simplefilter("ignore")
import yaml
import axolotl
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig

home = pathlib.Path(list(axolotl.__path__)[0])
for name in ("core.trainers", "prompt_strategies"):
    package = types.ModuleType(f"axolotl.{name}")
    package.__path__ = [str(home.joinpath(*name.split(".")))]
    sys.modules[package.__name__] = package
for name, classes in {
    "args": ("AxolotlAsyncGRPOConfig", "AxolotlGRPOConfig"),
    "trainer": ("AxolotlAsyncGRPOTrainer", "AxolotlGRPOSequenceParallelTrainer", "AxolotlGRPOTrainer"),
}.items():
    module = types.ModuleType(f"axolotl.core.trainers.grpo.{name}")
    for each in classes:
        setattr(module, each, type(each, (), {}))
    sys.modules[module.__name__] = module
from axolotl.core.trainers.grpo import GRPOStrategy
from axolotl.prompt_strategies.base import load

raw = yaml.safe_load(open("axolotl.yaml"))
config = AxolotlInputConfig(**raw).model_dump(exclude_none=True)
sys.path.insert(0, ".")  # PYTHONPATH=. of the command
cfg = DictDefault(config)
(functions,) = GRPOStrategy.set_trainer_args(cfg)
rows = [json.loads(line) for line in open("train.jsonl")]
transform = load(raw["datasets"][0]["type"], cfg, module_base="axolotl.prompt_strategies.dpo", dataset_idx=0)
asked = [transform[0](row) for row in rows[:2]]
columns = {name: [row[name] for row in asked] for name in asked[0]}
prompts = columns.pop("prompt")
completions = [[{"role": "assistant", "content": text}] for text in (rows[0]["answer"], "no")]
scores = [f(prompts=prompts, completions=completions, completion_ids=[[5], [6, 7]], trainer_state=None, **columns) for f in functions]
plain = GRPOStrategy.get_reward_func("grpokit.interop.trl.example_reward_distinct")
print(json.dumps({
    "known": sorted(set(raw) - set(AxolotlInputConfig.model_fields)),
    "config": config,
    "arguments": GRPOStrategy.set_training_args_kwargs(cfg),
    "names": [f.__name__ for f in functions],
    "scores": scores,
    "plain": plain(prompts=["x"], completions=["a b c a b c"], completion_ids=None),
    "nested": load("grpokit.interop.axolotl.transform", cfg, module_base="axolotl.prompt_strategies.dpo"),
}))
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory, tiny_model_folder):
    folder = tmp_path_factory.mktemp("axolotl")
    loaded = recipe(
        folder,
        model={"id": str(tiny_model_folder), "lora": {"rank": 4, "alpha": 8}},
        rewards=[
            {"use": "number", "weight": 0.75, "with": {"from": ["whole"]}},
            {"use": "example-reward/distinct", "name": "more-varied", "with": {"n": 1}},
        ],
        algorithm={"use": "gspo", "with": {"like": "trl", "beta": 0.02}},
        optim={"minibatches": 2, "schedule": "cosine", "warmup": 0.5, "betas": [0.9, 0.95]},
    )
    export_recipe(loaded, CATALOG, target="axolotl", folder=folder / "out", rows=4)
    raw = yaml.safe_load((folder / "out/axolotl.yaml").read_text())
    return raw, python(".venv/axolotl", script=CHECK, cwd=folder / "out")


@needs_axolotl
def test_axolotls_schema_takes_every_key(checked):
    raw, found = checked
    assert found["known"] == []
    for key, value in raw.items():
        if key not in ("trl", "datasets"):
            assert found["config"][key] == value, key
    for key, value in raw["trl"].items():
        assert found["config"]["trl"][key] == value, key


@needs_axolotl
def test_values_arrive_in_trls_arguments(checked):
    _, found = checked
    arguments = found["arguments"]
    assert arguments["importance_sampling_level"] == "sequence"
    assert (arguments["epsilon"], arguments["epsilon_high"]) == (3e-4, 4e-4)
    assert arguments["loss_type"] == "grpo"
    assert arguments["reward_weights"] == [0.75, 1.0]
    assert arguments["use_bias_correction_kl"] is True
    assert arguments["generation_batch_size"] == 12
    assert found["config"]["trl"]["beta"] == 0.02
    assert (found["config"]["adapter"], found["config"]["lora_r"]) == ("lora", 4)
    assert found["config"]["warmup_steps"] == 2


@needs_axolotl
def test_axolotls_loaders_find_rewards_and_data(checked):
    _, found = checked
    assert found["names"] == ["number", "more-varied"]
    assert found["scores"] == [[1.0, 0.0], [1.0, 1.0]]
    assert found["plain"] == [pytest.approx(3 / 4)]
    assert found["nested"] is None  # why the folder has a file of its own for the transform


def test_a_scale_between_whole_numbers(tmp_path):
    loaded = recipe(tmp_path, model={"id": "tiny-sums", "lora": {"rank": 4, "alpha": 2.7}})
    done = export_recipe(loaded, CATALOG, target="axolotl", folder=tmp_path / "out", rows=3)
    assert {note.key: note.text for note in done.notes}["model.lora.alpha"].endswith("it is 3")
    assert yaml.safe_load((tmp_path / "out/axolotl.yaml").read_text())["lora_alpha"] == 3


def test_what_axolotl_cannot_pass_on_is_refused(tmp_path):
    loaded = algorithm(tmp_path, "sapo", temperature_neg=2.0)
    with pytest.raises(PreflightError, match="axolotl cannot express") as caught:
        export_recipe(loaded, CATALOG, target="axolotl", folder=tmp_path / "out", rows=3)
    assert caught.value.problems == (
        "algorithm.with.temperature_neg: axolotl passes no temperatures to TRL",
    )
    done = export_recipe(
        loaded, CATALOG, target="axolotl", folder=tmp_path / "out", rows=3, force=True
    )
    assert "axolotl passes no temperatures" in (done.folder / "README.md").read_text()
    assert json.loads((done.folder / "train.jsonl").read_text().splitlines()[0])["prompt"]

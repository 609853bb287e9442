"""The recipe of a smoke run: what stays, what is cut, and what takes the place of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.compose.load import Loaded, load_recipe
from grpokit.errors import PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.smoke.small import Small, small_recipe


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


class Make:
    """Loads a recipe and makes it small."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder = folder
        self.catalog = catalog
        self.loaded: Loaded

    def __call__(self, name: str, *changes: str) -> Small:
        self.loaded = load_recipe(name, overrides=changes, catalog=self.catalog)
        return small_recipe(self.loaded, self.catalog, self.folder)


@pytest.fixture
def make(tmp_path: Path, catalog: Catalog) -> Make:
    return Make(tmp_path, catalog)


@pytest.mark.parametrize(
    "name",
    ["quickstart", "gsm8k-qwen-cppo", "rewards-intrinsic/rlpr", "unsloth/gsm8k-qwen-unsloth"],
)
def test_what_is_learnt_from_stays(make: Make, name: str) -> None:
    small, whole = make(name).recipe, make.loaded.recipe
    for section in ("dataset", "prompt", "rewards", "algorithm"):
        assert getattr(small, section) == getattr(whole, section)
    changed = {"warmup"} if whole.optim.warmup >= 1 else set()
    assert small.optim.model_dump(exclude=changed) == whole.optim.model_dump(exclude=changed)
    assert small.train.seed == whole.train.seed
    assert small.scoring.model_dump(exclude={"overlap"}) == whole.scoring.model_dump(
        exclude={"overlap"}
    )
    assert (small.model.id, small.train.steps, small.train.processes) == ("tiny-random", 2, 1)


def test_every_difference_is_told(make: Make) -> None:
    small = make("quickstart", "train.processes=2", "rollout.temperature=0.7")
    assert small.changed == {
        "model.id": ("smollm2-135m-instruct", "tiny-random"),
        "model.dtype": ("auto", "float32"),
        "rollout.prompts": (8, 2),
        "rollout.temperature": (0.7, 1.0),
        "rollout.max_tokens": (20, 128),
        "optim.warmup": (5.0, 0.0),
        "backend.with.device": ("auto", "cpu"),
        "backend.with.native": (True, False),
        "backend.with.threads": (None, 1),
        "train.processes": (2, 1),
        "eval.limit": (200, 2),
    }
    assert small.notes == ()
    assert small.loaded.name == "quickstart"


SHAPES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "a prompt for each device": (
        [
            "algorithm={use: cppo/cppo, with: {rate: 0.5, scope: device, devices: 3}}",
            "rollout.prompts=12",
        ],
        {"prompts": 3, "group": 8, "max_tokens": 128},
    ),
    "more parts than completions": (
        ["rollout={prompts: 64, group: 2}", "optim.minibatches=10"],
        {"prompts": 5, "group": 2, "max_tokens": 128},
    ),
    "more kept than a small group has": (
        ["algorithm={use: gfpo, with: {keep: 20}}", "rollout.group=32"],
        {"prompts": 2, "group": 32, "max_tokens": 128},
    ),
    "a punishment of long completions": (
        [
            "algorithm.parts.aggregate={use: overlong, with: {cache: 256}}",
            "rollout.max_tokens=4096",
        ],
        {"prompts": 2, "group": 8, "max_tokens": 512},
    ),
    "a large group": (["rollout.group=64"], {"prompts": 2, "group": 16, "max_tokens": 128}),
    "a group of one": (
        ["rollout={prompts: 1, group: 1}", "algorithm.parts.advantage={use: threshold}"],
        {"prompts": 1, "group": 1, "max_tokens": 128},
    ),
}


@pytest.mark.parametrize(("changes", "shape"), SHAPES.values(), ids=SHAPES)
def test_a_step_is_as_small_as_the_recipe_allows(
    make: Make, changes: list[str], shape: dict[str, int]
) -> None:
    found = make("quickstart", *changes).recipe.rollout
    assert {key: getattr(found, key) for key in shape} == shape


def test_a_backend_that_does_not_say_how_gives_way(make: Make) -> None:
    small = make("unsloth/gsm8k-qwen-unsloth")
    assert small.recipe.backend.use == "hf"
    assert small.changed["backend.use"] == ("unsloth", "hf")
    assert small.notes == (
        "the backend hf in place of unsloth: it does not say how it would train a tiny model on a CPU",
    )


def test_vllm_and_what_is_drawn_ahead_give_way(make: Make) -> None:
    small = make(
        "quickstart",
        "backend.with={rollouts: vllm, vllm: {sleep: false}, parallel: fsdp}",
        "rollout.staleness=1",
        "algorithm.parts.correction={use: truncate}",
    )
    assert small.recipe.backend.with_["rollouts"] == "transformers"
    assert small.changed["backend.with.parallel"] == ("fsdp", "auto")
    assert small.changed["rollout.staleness"] == (1, 0)


def test_trl_stays_where_it_is_installed(make: Make) -> None:
    pytest.importorskip("trl")
    small = make("quickstart", "backend={use: trl}")
    assert small.recipe.backend.use == "trl"
    weighed = make(
        "quickstart", "backend={use: trl}", "algorithm.parts.correction={use: mask-token}"
    )
    assert weighed.recipe.backend.use == "hf"
    assert "in place of trl: it cannot say how likely written completions are" in weighed.notes[0]
    shards = make("quickstart", "backend={use: trl, with: {accelerate_config: fsdp2}}")
    assert shards.recipe.backend.use == "hf"
    assert "in place of trl: accelerate cuts weights into shards on GPUs only" in shards.notes[0]


def test_modules_that_the_tiny_model_lacks(make: Make) -> None:
    small = make("quickstart", "model.lora={rank: 4, targets: [c_attn]}")
    assert small.recipe.model.lora is not None
    assert (small.recipe.model.lora.rank, small.recipe.model.lora.targets) == (4, "all-linear")
    known = make("quickstart", "model.lora={rank: 4, targets: [q_proj, v_proj]}")
    assert known.recipe.model.lora is not None
    assert known.recipe.model.lora.targets == ["q_proj", "v_proj"]


JUDGE = "{use: rewards-model/judge, with: {base_url: 'http://localhost:1/v1', model: x, rubric: y}}"


def test_what_costs_money_is_left_out(make: Make) -> None:
    small = make("quickstart", f"rewards=[{JUDGE}, {{use: number}}]")
    assert [section.use for section in small.recipe.rewards] == ["number"]
    assert small.notes == ("not exercised: rewards-model/judge, whose calls cost money",)
    with pytest.raises(PreflightError, match="cost money, and no other reward trains"):
        make("quickstart", f"rewards=[{JUDGE}]", "eval.correct=null")


def test_many_answers_to_a_question(make: Make) -> None:
    small = make("quickstart", "eval.samples=8", "eval.temperature=1", "eval.pass_at=[1, 4]")
    section = small.recipe.eval
    assert (section.samples, section.pass_at, section.limit) == (2, None, 2)

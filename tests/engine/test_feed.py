"""A runtime with a loop of its own takes its steps from the engine: nothing else may differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from grpokit.engine import session
from grpokit.engine.loop import train_on
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.errors import GrpokitError, Interrupted
from grpokit.evaluate.run import during_training
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit.spec.contracts import Feed, owns_loop
from grpokit.spec.recipe import Recipe
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from resume_runs import Cut, Outcome, recipe, run

GRPO = {"use": "grpo"}
REMEMBERS = {
    "use": "dapo",
    "with": {"metric": "contains", "on_bound": "train", "max_rounds": 3, "overlong_cache": 4},
    "parts": {"reset": {"use": "prolong", "with": {"every": 3, "kl_above": 1e-6, "window": 2}}},
}


class OwnLoop(HfBackend):
    """hf's update under a loop that belongs to the backend."""

    turns = 0

    def run(self, feed: Feed) -> None:
        while (task := feed.begin()) is not None:
            type(self).turns += 1
            feed.end(train_on(self, task))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(catalog: Catalog, recipe: Recipe) -> OwnLoop:
        config = create(catalog.find("backend", "hf"), recipe.backend.with_).config
        assert isinstance(config, HfConfig)
        return OwnLoop(config)

    monkeypatch.setattr(session, "make_backend", make)
    OwnLoop.turns = 0


def test_who_owns_the_loop_is_seen_by_its_class() -> None:
    assert owns_loop(OwnLoop())
    assert not owns_loop(HfBackend())


@pytest.mark.parametrize("algorithm", [GRPO, REMEMBERS], ids=["grpo", "remembers"])
def test_the_run_is_the_same(
    tiny_model_folder: Path,
    tmp_path: Path,
    algorithm: dict[str, object],
    request: pytest.FixtureRequest,
) -> None:
    ours = run(recipe(tiny_model_folder, tmp_path / "ours", algorithm=algorithm))
    request.getfixturevalue("own_loop")
    theirs = run(recipe(tiny_model_folder, tmp_path / "theirs", algorithm=algorithm))
    assert OwnLoop.turns == len(ours.metrics) > 0
    assert theirs == ours


def test_a_loop_that_ends_early_is_no_complete_run(
    tiny_model_folder: Path,
    tmp_path: Path,
    own_loop: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def short(self: OwnLoop, feed: Feed) -> None:
        task = feed.begin()
        assert task
        feed.end(train_on(self, task))

    monkeypatch.setattr(OwnLoop, "run", short)
    with pytest.raises(GrpokitError, match="ended its loop after step 1 of 8"):
        run(recipe(tiny_model_folder, tmp_path, algorithm=GRPO))
    (saved,) = tmp_path.glob("*/checkpoints/step-*")
    assert saved.name == "step-000001", "what is trained is on the disk"
    assert not list(tmp_path.glob("*/final"))


def test_evaluations_on_the_way_are_the_same(
    tiny_model_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Drawn by the same model between the same steps, and kept in the same file."""
    held_out = {"dataset": {"use": "arithmetic", "with": {"split": "test"}}, "limit": 6, "every": 3}

    def trained(name: str) -> str:
        wanted = recipe(tiny_model_folder, tmp_path / name, algorithm=GRPO, eval=held_out)
        catalog = Catalog.load()
        folder = RunDir.create(tmp_path / name, "run", wanted, {})
        evaluator = during_training(wanted, catalog)
        session.train(wanted, folder, catalog, Observer(), evaluator)
        return (folder.path / "evals.jsonl").read_text()

    ours = trained("ours")
    assert [json.loads(line)["step"] for line in ours.splitlines()] == [3, 6]
    request.getfixturevalue("own_loop")
    assert trained("theirs") == ours
    assert OwnLoop.turns == 8


@pytest.mark.usefixtures("own_loop")
def test_killed_and_resumed_it_is_the_same_too(tiny_model_folder: Path, tmp_path: Path) -> None:
    def trained(name: str, *cuts: Cut) -> Outcome:
        return run(recipe(tiny_model_folder, tmp_path / name, algorithm=REMEMBERS), *cuts)

    cuts = (Cut(5, "score"), Cut(7, "generate", Interrupted))
    assert trained("cut", *cuts) == trained("whole")

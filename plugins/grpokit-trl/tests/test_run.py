"""Whole runs through the engine: they learn, resume bit by bit, and stop when they are told to."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import resume_runs
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import train
from grpokit.errors import FindingError, GrpokitError, Interrupted, NonFiniteError
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Lora
from resume_runs import Cut

BACKEND = {"use": "trl", "with": {"threads": 1, "device": "cpu"}}


def recipe(model: Path, out: Path, **sections: Any) -> Any:
    algorithm = {"use": "grpo", "with": {"beta": 0.04}}
    return resume_runs.recipe(model, out, algorithm=algorithm, backend=BACKEND, **sections)


@dataclass
class Killer(Observer):
    """Sends a real signal to this process when a stage of a step begins."""

    at: int
    name: str

    def stage(self, step: int, name: str) -> None:
        if (step, name) == (self.at, self.name):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("whole")
    return resume_runs.run(recipe(tiny_model_folder, out))


def test_a_resumed_run_equals_the_uninterrupted_one(whole, tiny_model_folder, tmp_path):
    wanted = recipe(tiny_model_folder, tmp_path)
    parts = resume_runs.run(wanted, Cut(3, "update"), Cut(6, "score"))
    assert parts == whole


@pytest.mark.parametrize("stage", ["generate", "update"])
def test_sigterm_saves_and_the_run_goes_on(whole, tiny_model_folder, tmp_path, stage):
    run = RunDir.create(tmp_path, "run", recipe(tiny_model_folder, tmp_path), {}).path
    with pytest.raises(Interrupted) as stop:
        train(RunDir.existing(run).recipe(), RunDir.existing(run), Catalog.load(), Killer(5, stage))
    assert stop.value.exit_code == 143
    assert "grpokit train --resume" in stop.value.remedy
    assert (run / "checkpoints" / "step-000004").is_dir()  # the last finished step, not the third
    train(RunDir.existing(run).recipe(), RunDir.existing(run), Catalog.load(), Observer())
    assert resume_runs.outcome(run) == whole


@dataclass
class Watcher(Observer):
    """Wants the run to end before a step."""

    at: int
    seen: int = 0

    def step(self, record: Any, rollout: Any, scores: Any) -> None:
        self.seen = record.step

    def go_on(self) -> None:
        if self.seen == self.at - 1:
            raise FindingError("a reason to stop")


def test_who_watches_ends_the_run_and_it_goes_on(whole, tiny_model_folder, tmp_path):
    run = RunDir.create(tmp_path, "run", recipe(tiny_model_folder, tmp_path), {}).path
    with pytest.raises(FindingError) as stop:
        train(RunDir.existing(run).recipe(), RunDir.existing(run), Catalog.load(), Watcher(5))
    assert stop.value.exit_code == 8
    assert "grpokit train --resume" in stop.value.remedy
    assert (run / "checkpoints" / "step-000004").is_dir()
    train(RunDir.existing(run).recipe(), RunDir.existing(run), Catalog.load(), Observer())
    assert resume_runs.outcome(run) == whole


RESETS = {
    "reference and optimiser, adapter": (
        {"use": "prorl", "with": {"on_bound": "train", "beta": 0.05, "every": 2}},
        {"rank": 4, "alpha": 8},
    ),
    "policy, all weights": ({"use": "rest-em", "with": {"threshold": 0.3, "every": 3}}, None),
}


@pytest.mark.parametrize("case", RESETS)
def test_what_begins_anew_survives_a_resume(tiny_model_folder, tmp_path, case):
    algorithm, lora = RESETS[case]
    ends = []
    for name, cuts in (("whole", ()), ("parts", (Cut(5, "update"),))):
        wanted = resume_runs.recipe(
            tiny_model_folder, tmp_path / name, algorithm=algorithm, backend=BACKEND
        )
        model = wanted.model.model_copy(update={"lora": lora and Lora.model_validate(lora)})
        wanted = wanted.model_copy(update={"model": model})
        path = RunDir.create(tmp_path / name, "run", wanted, {}).path
        for cut in cuts:
            with pytest.raises(resume_runs.Killed):
                train(wanted, RunDir.existing(path), Catalog.load(), cut)
        train(wanted, RunDir.existing(path), Catalog.load(), Observer())
        weights = "adapter_model.safetensors" if lora else "model.safetensors"
        ends.append((path / "final" / weights).read_bytes())
        assert lora or (path / "final" / "chat_template.jinja").is_file()
        newest = max((path / "checkpoints").iterdir())
        moved = (newest / "state" / "reference.safetensors").is_file()
        assert moved == case.startswith("reference")
    assert ends[0] == ends[1]


class Rewards(Observer):
    def __init__(self) -> None:
        self.means: list[float] = []

    def step(self, record: Any, *_: Any) -> None:
        self.means.append(record.metrics["reward"])


def test_a_run_learns(tiny_model_folder, tmp_path):
    seen = Rewards()
    wanted = recipe(
        tiny_model_folder,
        tmp_path,
        rewards=[{"use": "contains", "with": {"text": "a"}}],
        rollout={"prompts": 4, "group": 8, "max_tokens": 12},
        optim={"lr": 0.02, "warmup": 0.0, "max_grad_norm": 1.0},
        train={"steps": 25, "save_every": 25, "seed": 7, "out": str(tmp_path), "show_every": 0},
    )
    path = RunDir.create(tmp_path, "run", wanted, {}).path
    train(wanted, RunDir.existing(path), Catalog.load(), seen)
    assert len(seen.means) == 25
    assert sum(seen.means[-5:]) / 5 > sum(seen.means[:5]) / 5 + 0.3


def test_a_step_without_signal_changes_nothing(tiny_model_folder, tmp_path):
    algorithm = {"use": "grpo", "parts": {"select": {"use": "drop-zero"}}}
    wanted = resume_runs.recipe(
        tiny_model_folder,
        tmp_path,
        algorithm=algorithm,
        backend=BACKEND,
        rewards=[{"use": "contains", "with": {"text": "never said"}}],
    )
    found = resume_runs.run(wanted)
    assert len(found.metrics) == resume_runs.STEPS
    assert all("loss" not in row for row in found.metrics)


def test_gradients_that_are_not_finite_end_the_run(make_recipe, open_backend, make_prompts):
    import torch

    import parity
    from grpokit.api import Advantages, LossOutputs, Resets, Sampling, Selection, Task

    backend = open_backend(make_recipe(optim={"minibatches": 4}))
    before = {name: w.detach().clone() for name, w in backend.loaded.weights.items()}
    rollout = backend.generate(make_prompts(), Sampling(group=4, max_tokens=10, seed=7, step=1))
    rows = tuple(rollout.rows())
    task = Task(
        step=1,
        loss=lambda inputs: LossOutputs(loss=inputs.logprobs_NT.sum() * float("nan")),
        rollout=rollout,
        advantages=Advantages(
            advantages_PG=torch.ones(3, 4),
            valid_PG=torch.ones(3, 4, dtype=torch.bool),
            dead_P=torch.zeros(3, dtype=torch.bool),
        ),
        selection=Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows)),
        resets=Resets(),
    )
    with pytest.raises(NonFiniteError, match="4 optimiser steps in a row"):
        backend.run(parity.OneStep(task))
    assert all(torch.equal(w, before[n]) for n, w in backend.loaded.weights.items())
    assert isinstance(backend.trainer.driver.bad_streak, int)


def test_an_error_of_the_feed_passes_unchanged(make_recipe, open_backend):
    class Broken:
        def begin(self) -> Any:
            raise GrpokitError("the reward is ill", remedy="see a doctor")

        def end(self, update: Any) -> None:
            raise AssertionError

    backend = open_backend(make_recipe())
    with pytest.raises(GrpokitError, match="the reward is ill"):
        backend.run(Broken())

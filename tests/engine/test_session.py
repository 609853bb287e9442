"""What a run saves when it ends early. Whole runs are in test_resume.py."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from grpokit.engine.ahead import Ahead
from grpokit.engine.checkpoint import CheckpointStore
from grpokit.engine.loop import Loop, StepResult
from grpokit.engine.observer import Observer, Watchers
from grpokit.engine.progress import Progress
from grpokit.engine.ranks import Ranks
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import _callbacks, train
from grpokit.errors import CheckpointError, Interrupted, NonFiniteError, PreflightError
from grpokit.registry.catalog import Catalog, Entry
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.components import CallbackSpec
from grpokit.spec.flow import Scores, StepRecord
from grpokit.spec.recipe import Recipe, Use
from resume_runs import recipe

SCORES = Scores(rewards={"r": [[1.0]]}, components={}, total=[[1.0]])


class Told(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, *, warning: bool = False) -> None:
        self.lines.append(text)


class Backend:
    """Saves a counter; ``broken`` makes saving fail."""

    broken: Exception | None = None

    def save_policy(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "policy.txt").write_text("p")
        if self.broken:
            raise self.broken

    def save_state(self, folder: Path) -> None:
        (folder / "state.txt").write_text("s")

    def load_state(self, folder: Path) -> None:
        assert (folder / "policy" / "policy.txt").is_file()


class Steps:
    """Stands for a loop: a reward for each step, and the step at which a signal arrives."""

    def __init__(self, rewards: list[float], stop: int) -> None:
        self.rewards, self.stop = rewards, stop
        self.budget = ErrorBudget(0.5)
        self.backend = Backend()
        self.scorer = SimpleNamespace(setups=())
        self.ranks = Ranks()
        self.ahead = Ahead()

    def poll(self) -> None:
        pass

    def begin(self, index: int) -> Any:
        self.budget.add(SCORES)
        if index == self.stop:
            raise Interrupted(2)
        return SimpleNamespace(index=index, task=index)

    def train(self, task: Any) -> None:
        pass

    def finish(self, pending: Any, update: Any) -> StepResult:
        reward = self.rewards[pending.index - 1]
        record = StepRecord(step=pending.index, metrics={"reward": reward}, seconds={})
        whole = SimpleNamespace(rollout=SimpleNamespace(completions=[()]), scores=SCORES)
        advantages = SimpleNamespace(advantages_PG=torch.zeros(0, 0))
        batch: Any = SimpleNamespace(whole=whole, kept=(), advantages=advantages)
        nothing: Any = None
        return StepResult(record=record, batch=batch, selection=nothing)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        assert state == {}

    def load_ahead(self, folder: Path) -> bool:
        return folder.is_dir()


def make_session(path: Path, steps: Steps, *, keep: int = 2) -> Progress:
    recipe = Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": "tiny"},
            "dataset": {"use": "arithmetic"},
            "rewards": [{"use": "number"}],
            "train": {"steps": 9, "save_every": 2, "keep": keep, "save_rollouts": False},
        }
    )
    run = RunDir(path)
    observer = Told()
    return Progress(
        recipe=recipe,
        run=run,
        loop=cast("Loop", steps),
        store=CheckpointStore(run.checkpoints, keep=keep),
        observer=observer,
        watchers=Watchers({}, observer),
    )


def interrupted(path: Path, steps: Steps) -> Progress:
    session = make_session(path, steps)
    session.restore()
    with pytest.raises(Interrupted):
        session.run_steps()
    session.save_after_failure()
    return session


def state_of(path: Path, step: int) -> dict[str, Any]:
    text = (path / "checkpoints" / f"step-{step:06d}" / "run.json").read_text()
    return dict(json.loads(text))


def test_an_interrupted_step_is_not_in_the_saved_budget(tmp_path: Path) -> None:
    """It is taken again, and would count twice."""
    interrupted(tmp_path, Steps([0.0] * 9, stop=4))
    assert state_of(tmp_path, 3)["budget"]["steps"]["r"] == [[1, 0]] * 3
    steps = Steps([0.0] * 9, stop=6)
    interrupted(tmp_path, steps)
    assert state_of(tmp_path, 5)["budget"]["steps"]["r"] == [[1, 0]] * 5


def test_best_is_the_mean_of_as_many_steps_after_an_interrupt(tmp_path: Path) -> None:
    rewards = [0.0, 0.2, 1.0, 0.0, 0.3, 0.4, 0.0, 0.0, 0.0]
    interrupted(tmp_path, Steps(rewards, stop=4))
    assert state_of(tmp_path, 3)["best_score"] == pytest.approx(0.6)  # of steps 2 and 3
    interrupted(tmp_path, Steps(rewards, stop=5))
    assert state_of(tmp_path, 4)["best_score"] == pytest.approx(0.6)
    assert state_of(tmp_path, 4)["best_step"] == 3


def test_a_best_checkpoint_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    session = make_session(tmp_path, Steps([], stop=1))
    state = {
        "metrics_bytes": 0,
        "rollouts_bytes": 0,
        "budget": session.loop.budget.state(),
        "loop": {},
    }
    session.store.save(2, session._write, {**state, "best_step": 1, "best_score": 0.9})
    session.restore()
    assert (session.done, session.best_step, session.best_score) == (2, None, float("-inf"))


class Noting:
    """A callback, as a plugin would name it in its spec."""


def test_a_callback_may_be_used_twice() -> None:
    spec = CallbackSpec(name="note", summary="Notes.", target=f"{__name__}:Noting")
    record: Any = SimpleNamespace(name="p", distribution="d", version="1", module="m")
    entry = Entry(id="p/note", kind="callback", spec=spec, plugin=record)
    catalog: Any = SimpleNamespace(find=lambda _kind, _name: entry)
    recipe: Any = SimpleNamespace(callbacks=[Use(use="note"), Use(use="note")])
    found = _callbacks(catalog, recipe)
    assert list(found) == ["note", "note (callbacks.1)"]
    assert len({id(callback) for callback in found.values()}) == 2


def test_a_save_that_fails_does_not_hide_why_the_run_ended(tmp_path: Path) -> None:
    session = make_session(tmp_path, Steps([0.0] * 9, stop=2))
    session.restore()
    with pytest.raises(Interrupted):
        session.run_steps()
    for error in (NonFiniteError("weights are broken"), CheckpointError("torn"), OSError(28, "x")):
        cast("Backend", session.loop.backend).broken = error
        session.save_after_failure()
    told = cast("Told", session.observer).lines
    assert [line.partition(":")[0] for line in told] == ["step 1 could not be saved"] * 3
    assert list(session.store.folder.iterdir()) == []


def test_weights_of_a_step_that_is_not_recorded_are_not_saved_as_those_of_the_one_before(
    tmp_path: Path,
) -> None:
    steps = Steps([0.0], stop=9)  # without a reward for the second step: finishing it fails
    session = make_session(tmp_path, steps)
    session.restore()
    with pytest.raises(IndexError):
        session.run_steps()
    session.save_after_failure()
    assert cast("Told", session.observer).lines == [
        "step 2 was trained but could not be recorded; nothing was saved"
    ]
    assert not session.store.folder.exists()


def test_a_fault_in_code_does_not_cost_the_steps_before_it(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(tiny_model_folder, tmp_path, algorithm={"use": "grpo"})
    run = RunDir.create(tmp_path, "r", wanted, {})
    begin = Loop.begin

    def faulty(loop: Loop, index: int) -> Any:
        if index == 2:
            raise ZeroDivisionError("of a plugin")
        return begin(loop, index)

    monkeypatch.setattr(Loop, "begin", faulty)
    with pytest.raises(ZeroDivisionError, match="of a plugin"):
        train(wanted, run, Catalog.load(), Observer())
    assert state_of(run.path, 1)["step"] == 1


def test_a_recipe_for_several_processes_is_not_trained_in_one_in_silence(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    made = recipe(tiny_model_folder, tmp_path, algorithm={"use": "grpo"})
    train_section = made.train.model_copy(update={"processes": 2})
    several = made.model_copy(update={"train": train_section})
    run = RunDir.create(tmp_path, "r", several, {})
    with pytest.raises(PreflightError, match="2 processes, and there are 1"):
        train(several, run, Catalog.load(), Observer())

"""Runs that draw ahead: how they end, how they are resumed, and when they draw anew."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from ahead_runs import STEPS, TRUNCATE, changed, go_on, newest, stale, started, until
from grpokit.engine.ahead import Ahead, Opening
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import make_algorithm, train
from grpokit.errors import GrpokitError, Interrupted, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.spec.flow import Rollout, Sampling
from resume_runs import Cut, run
from two_models import Seen, drawing

DYNAMIC = {
    "use": "dapo",
    "with": {"metric": "contains", "on_bound": "train", "max_rounds": 3, "overlong_cache": 4},
    "parts": {
        "correction": {"use": "truncate"},
        "reset": {"use": "prolong", "with": {"every": 2, "kl_above": 1e-6, "window": 2}},
    },
}


def test_stopped_at_every_step_and_resumed(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    whole = run(stale(tiny_model_folder, tmp_path / "whole"))
    moments = ((1, "update"), (2, "score"), (3, "update"), (3, "generate"), (4, "score"))
    cuts = [Cut(step, stage, Interrupted) for step, stage in moments]
    assert run(stale(tiny_model_folder, tmp_path / "cut"), *cuts) == whole


def test_killed_in_steps_that_draw_on(tiny_model_folder: Path, tmp_path: Path, seen: Seen) -> None:
    """Dynamic sampling draws its later rounds with the weights of the step; its resets move none."""
    settings = {
        "algorithm": DYNAMIC,
        "train": {"save_every": 2},
        "rollout": {"group": 12, "prompts": 3},
    }
    whole = run(stale(tiny_model_folder, tmp_path / "whole", **settings))
    assert any(0 < row["staleness"] < 1 for row in whole.metrics)
    cuts = (Cut(2, "update"), Cut(3, "score"), Cut(4, "update"))
    assert run(stale(tiny_model_folder, tmp_path / "cut", **settings), *cuts) == whole


class Quiet(Observer):
    """Nothing is drawn for a step that was given up while the one before is saved."""

    def stage(self, step: int, name: str) -> None:
        del step
        assert name != "save" or drawing() == []


def weights_of(path: RunDir) -> bytes:
    return (path.final / "adapter_model.safetensors").read_bytes()


def test_an_interrupt_while_the_thread_draws(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """The update of step 2 hears of it; the round of step 3 is given up, that of step 2 is kept."""
    whole = started(stale(tiny_model_folder, tmp_path / "whole"))
    go_on(whole)
    begun = threading.Event()

    def hold(step: int, stop: Any) -> None:
        if step == 3:
            begun.set()
            until(lambda: False, stop)  # would draw for ever

    def strike(step: int) -> None:
        if step == 2:
            assert begun.wait(10)
            raise Interrupted(2)

    seen.hold, seen.strike = hold, strike
    cut = started(stale(tiny_model_folder, tmp_path / "cut"))
    with pytest.raises(Interrupted):
        go_on(cut, Quiet())
    assert drawing() == []
    (checkpoint,) = cut.checkpoints.iterdir()
    held = json.loads((checkpoint / "ahead.json").read_text())
    assert (checkpoint.name, held["step"], len(held["rows"])) == ("step-000001", 2, 2)
    seen.hold, seen.strike = Seen().hold, Seen().strike
    go_on(cut)
    assert weights_of(cut) == weights_of(whole)
    assert not any(path.name == "ahead.json" for path in newest(cut).iterdir())


def test_an_error_in_the_thread_is_that_of_the_step_that_needs_it(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    def hold(step: int, stop: Any) -> None:
        del stop
        if step == 3:
            raise GrpokitError("the sampler fell over", place="its log", remedy="pick it up")

    seen.hold = hold
    cut = started(stale(tiny_model_folder, tmp_path))
    with pytest.raises(GrpokitError, match="the sampler fell over") as error:
        go_on(cut)
    assert error.value.remedy.startswith("pick it up; resume with")
    assert len(seen.trained) == 2
    assert newest(cut).name == "step-000002"  # what was trained is kept
    assert not (newest(cut) / "ahead.json").exists()
    seen.hold = Seen().hold
    go_on(cut)
    rows = [json.loads(line) for line in (cut.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["staleness"] for row in rows] == [0.0, 1.0, 0.0, 1.0]


def test_checkpoints_and_evaluations_wait_for_the_round_that_is_being_drawn(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    stages: list[tuple[int, str]] = []
    release = [threading.Event() for _ in range(STEPS + 1)]

    class Watching(Observer):
        def stage(self, step: int, name: str) -> None:
            stages.append((step, name))
            if name == "wait":
                release[step].set()

    def hold(step: int, stop: Any) -> None:
        until(release[step - 1].is_set, stop)

    def evaluate(model: Any, should_stop: Any, share: Any) -> dict[str, float]:
        del model, should_stop, share
        assert drawing() == []  # the sampler is free
        return {"accuracy": 0.5}

    seen.hold = hold
    exam = {"every": 2, "dataset": {"use": "arithmetic"}}
    wanted = stale(tiny_model_folder, tmp_path, train={"save_every": 1}, eval=exam)
    path = started(wanted)
    train(wanted, path, Catalog.load(), Watching(), evaluate)
    kinds = ("wait", "evaluate", "save")
    assert [told for told in stages if told[1] in kinds] == [
        *[(1, "wait"), (1, "save"), (2, "wait"), (2, "evaluate"), (2, "save")],
        *[(3, "wait"), (3, "save"), (4, "evaluate"), (4, "save")],
    ]
    assert json.loads((path.checkpoints / "step-000003" / "ahead.json").read_text())["step"] == 4


def test_an_error_is_told_once() -> None:
    """So that a step that is taken again in the same process draws for itself."""

    class Falls:
        def ahead(self, *_: Any) -> Any:
            def draw(stop: Any) -> Rollout:
                raise GrpokitError("it fell over")

            return draw

    ahead = Ahead(last=3)
    sampling = Sampling(group=1, max_tokens=1, step=2)
    opening = Opening(step=2, rows=(0,), prompts=(), position=1, sampling=sampling)
    ahead.begin(opening, Falls(), lambda: None)
    ahead.advance()
    assert ahead.opening(2) is opening
    with pytest.raises(GrpokitError, match="fell over"):
        ahead.rollout(lambda: None)
    assert ahead.opening(2) is None


def test_rows_that_run_out_end_the_step_that_has_none(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """The step before it, whose draw finds that out, is trained and saved."""
    history = {"use": "history", "with": {"metric": "length", "threshold": 0.0}}
    algorithm = {**TRUNCATE, "parts": {**TRUNCATE["parts"], "sampler": history}}
    wanted = stale(tiny_model_folder, tmp_path, algorithm=algorithm, train={"steps": 9})
    path = started(wanted)
    with pytest.raises(PreflightError, match="every row is solved"):
        go_on(path)
    assert newest(path).name == f"step-{len(seen.trained):06d}"
    assert len(seen.trained) == 4  # three have all six rows; those of the third are drawn once more
    assert not (newest(path) / "ahead.json").exists()


def test_the_policy_begins_anew_before_it_draws_again(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen
) -> None:
    """A round of the policy that is thrown away would teach the new one."""
    algorithm = {
        "use": "rest-em",
        "with": {"threshold": 0.3, "every": 2},
        "parts": {"correction": {"use": "truncate"}},
    }
    catalog = Catalog.load()
    wanted = stale(tiny_model_folder, tmp_path, algorithm=algorithm)
    resets = [make_algorithm(catalog, wanted).resets(n) for n in range(1, STEPS + 1)]
    told = run(wanted)
    ages = [row["staleness"] for row in told.metrics]
    assert any(reset.policy for reset in resets)
    assert 0.0 in ages[1:]
    assert 1.0 in ages
    for number, reset in enumerate(resets[:-1], start=1):
        trained = told.metrics[number - 1]["trained_rows"] > 0
        assert ages[number] == (0.0 if reset.policy and trained else 1.0)


def test_more_steps_than_were_planned(tiny_model_folder: Path, tmp_path: Path, seen: Seen) -> None:
    """The last step of the plan drew nothing ahead, so the one after it draws for itself."""
    wanted = stale(tiny_model_folder, tmp_path, train={"steps": 2})
    path = started(wanted)
    go_on(path)
    wanted = changed(wanted, "train", steps=4)
    train(wanted, RunDir.existing(path.path), Catalog.load(), Observer())
    rows = [json.loads(line) for line in (path.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["staleness"] for row in rows] == [0.0, 1.0, 0.0, 1.0]


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "fewer prompts": ("rollout", {"prompts": 1}),
    "other questions": ("dataset", {"with": {"rows": [{"question": "9?", "answer": "a"}] * 6}}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_round_of_another_recipe_is_not_used(
    tiny_model_folder: Path, tmp_path: Path, seen: Seen, name: str
) -> None:
    said: list[str] = []

    class Saying(Observer):
        def say(self, text: str, *, warning: bool = False) -> None:
            said.append(text)

    wanted = stale(tiny_model_folder, tmp_path, train={"save_every": 1})
    path = started(wanted)
    with pytest.raises(Interrupted):
        train(wanted, path, Catalog.load(), Cut(3, "update", Interrupted))
    section, values = OTHERS[name]
    wanted = changed(wanted, section, **values)
    train(wanted, RunDir.existing(path.path), Catalog.load(), Saying())
    assert said == ["the completions of step 3 do not fit the changed recipe; they are drawn anew"]

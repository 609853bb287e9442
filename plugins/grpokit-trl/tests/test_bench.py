"""TRL's own trainer takes the step of `grpokit bench step`, and it is the same step as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.bench.step.grid import Cell, Settings
from grpokit.bench.step.results import difference
from grpokit.bench.step.watch import Watch
from grpokit.bench.step.work import make_work
from grpokit.errors import GrpokitError, PreflightError
from grpokit.spec.stepwork import StepWork
from grpokit_hf.bench.step import run as run_hf
from grpokit_trl.bench import check_drawn, places, run, trainer_settings


def work_of(folder: Path, *, keep: float = 1.0, device: str = "cpu", **settings: Any) -> StepWork:
    cell = Cell(dtype="float32", prompt=20, completion=6, group=4, keep=keep)
    chosen = Settings(
        model="", prompts=2, rank=4, rounds=1, threads=1, device=device, lengths="varied"
    )
    tokens = list(range(4, 90))
    work = make_work(cell, chosen, {"folder": str(folder), "tokens": tokens})
    return StepWork(**{**vars(work), "settings": settings})


def measured(way: Any, work: StepWork) -> dict[str, Any]:
    watch = Watch()
    way(work, watch)
    return watch.result()


@pytest.mark.parametrize(
    ("keep", "settings"), [(1.0, {}), (0.5, {}), (1.0, {"gradient_checkpointing": True})]
)
def test_the_step_is_that_of_the_plain_path(
    tiny_model_folder: Path, keep: float, settings: dict[str, Any]
) -> None:
    theirs = measured(run, work_of(tiny_model_folder, keep=keep, **settings))
    plain = {"packing": False, "tree": False, "skip": False, "products": "torch", "floor": False}
    ours = measured(run_hf, work_of(tiny_model_folder, keep=keep, **plain))
    assert difference(ours["gradients"], theirs["gradients"]) < 1e-4
    assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=1e-4)
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    stages = {"generate", "score", "forward", "backward", "optimizer", "other", "total"}
    assert [set(step) for step in theirs["steps"]] == [stages] * 2
    assert all(step[name] > 0 for step in theirs["steps"] for name in stages)


def test_a_gpu_that_is_not_there_is_not_replaced(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(PreflightError, match="torch finds no CUDA device"):
        run(work_of(tiny_model_folder, device="cuda"), Watch())


def test_the_settings_are_the_work(tiny_model_folder: Path) -> None:
    work = work_of(tiny_model_folder, args={"epsilon": 0.1})
    found = trainer_settings(work, "out")
    assert found["per_device_train_batch_size"] == 8
    assert (found["num_generations"], found["max_steps"]) == (4, 2)
    assert found["generation_kwargs"] == {"min_new_tokens": 6}
    assert (found["loss_type"], found["beta"], found["epsilon"]) == ("grpo", 0.0, 0.1)


def test_rows_are_told_by_prompt_and_turn() -> None:
    assert places(["1", "1", "0", "1", "0"]) == [(1, 0), (1, 1), (0, 0), (1, 2), (0, 1)]


def test_a_completion_that_ends_early_is_a_fault(tiny_model_folder: Path) -> None:
    work = work_of(tiny_model_folder)
    check_drawn(work, [[1] * 6, [1] * 6])
    with pytest.raises(GrpokitError, match="a completion ended after 5 of 6 tokens"):
        check_drawn(work, [[1] * 6, [1] * 5])

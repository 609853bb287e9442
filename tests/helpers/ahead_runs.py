"""Runs whose first rounds are drawn one step ahead, by a second model in a thread (two_models.py)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import train
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe
from resume_runs import recipe

STEPS = 4
TRUNCATE = {"use": "grpo", "parts": {"correction": {"use": "truncate"}}}


def stale(
    model: Path, out: Path, *, algorithm: dict[str, Any] = TRUNCATE, **sections: dict[str, Any]
) -> Recipe:
    """Four steps, drawn ahead; ``sections`` change single keys."""
    written = recipe(model, out, algorithm=algorithm)
    written = changed(written, "rollout", staleness=1)
    written = changed(written, "train", steps=STEPS)
    for name, values in sections.items():
        written = changed(written, name, **values)
    return written


def changed(wanted: Recipe, section: str, **values: Any) -> Recipe:
    data = wanted.model_dump(mode="json", by_alias=True)
    data[section] |= values
    return Recipe.model_validate_json(json.dumps(data))


def until(true: Any, stop: Any) -> None:
    while not true():
        stop()
        time.sleep(0.001)


def started(wanted: Recipe) -> RunDir:
    return RunDir.create(Path(wanted.train.out), "run", wanted, {})


def go_on(path: RunDir, observer: Observer | None = None) -> None:
    run_dir = RunDir.existing(path.path)
    train(run_dir.recipe(), run_dir, Catalog.load(), observer or Observer())


def newest(path: RunDir) -> Path:
    return max(path.checkpoints.iterdir())

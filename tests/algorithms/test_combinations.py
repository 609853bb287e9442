"""Parts of all axes combine freely: forty random compositions run, and stay finite."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.algorithms import AXES, Composition, build_algorithm
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.step_config import SamplingStage, StageConfig
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import resolve
from grpokit.spec.components import AlgorithmSpec
from small_runs import steps

SPECS = [
    entry.spec
    for entry in Catalog.load().entries("algorithm")
    if isinstance(entry.spec, AlgorithmSpec) and entry.plugin.name == "grpokit"
]

SETTINGS: dict[str, dict[str, Any]] = {
    "beta-normalised": {"alpha": 1.5, "beta": 1.5, "low": -3.0, "high": 3.0},
    "dynamic-sampling": {"on_bound": "train", "max_rounds": 3},
    "std-filter": {"on_bound": "train", "max_rounds": 3},
    "staged": {"stages": [StageConfig(steps=1, where={"domain": "a"}), StageConfig()]},
    "stages": {"stages": [SamplingStage(from_=2, max_tokens=10, temperature=1.2)]},
    "variance": {"column": "pass_rate"},
    "selective": {"marker": [5]},
    "threshold": {"threshold": -9.0},
}
"""What a part cannot do without, or with other parts' totals."""


def chosen(seed: int) -> dict[str, AlgorithmSpec]:
    """A part of every axis, none of which excludes another. Each part has its turn in the forty."""
    draw = random.Random(seed)
    turn = {spec.axis: spec for spec in [spec for spec in SPECS if spec.axis][seed::40]}
    while True:
        found = {}
        for axis in AXES:
            parts = [spec for spec in SPECS if spec.axis == axis]
            found[axis] = turn.get(axis) or draw.choice(parts)
        names = {spec.name for spec in found.values()}
        if not any(other in names for spec in found.values() for other, _ in spec.excludes):
            return found


def made(spec: AlgorithmSpec) -> Any:
    factory = resolve(spec.target)
    settings = SETTINGS.get(spec.name, {})
    return factory(resolve(spec.config)(**settings)) if spec.config else factory()


def test_the_forty_use_every_part() -> None:
    used = {spec.name for seed in range(40) for spec in chosen(seed).values()}
    assert used == {spec.name for spec in SPECS if spec.axis}


@pytest.mark.parametrize("seed", range(40))
def test_a_random_composition_runs_two_steps(tiny_model_folder: Path, seed: int) -> None:
    torch.set_num_threads(1)
    specs = chosen(seed)
    parts = {axis: made(spec) for axis, spec in specs.items()}
    # One advantage a group, or few completions that end in time: a minibatch may have no rows.
    few = {"pass-at-k", "finished-mask", "stop-properly"}
    sparse = any(spec.name in few for spec in specs.values())
    algorithm = build_algorithm(build(GrpoConfig()), parts)
    assert isinstance(algorithm, Composition)
    for step in steps(tiny_model_folder, algorithm, 2):
        if not sparse:
            assert step.update.optimizer_steps == 2
        assert all(math.isfinite(value) for value in step.update.metrics.values())
        assert all(bool(weight.isfinite().all()) for weight in step.backend.policy.weights.values())

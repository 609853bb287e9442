"""Whole runs of a tiny model in this process, cut short at a chosen moment and resumed.

    whole = run(recipe(model, tmp_path / "whole", algorithm=...))
    parts = run(recipe(model, tmp_path / "cut", algorithm=...), Cut(3, "update"), Cut(5, "score"))
    assert parts == whole

``Cut`` raises from within a stage. ``Killed`` is no error that the engine knows, so nothing more is
saved: what lies on the disk is what a killed process leaves. With ``kind=Interrupted`` it is a signal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.engine.checkpoint import CheckpointStore
from grpokit.engine.observer import Observer
from grpokit.engine.rundir import RunDir
from grpokit.engine.session import train
from grpokit.errors import Interrupted
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe

__all__ = ["Cut", "Killed", "Outcome", "outcome", "recipe", "run"]

STEPS = 8
ROWS = [
    {
        "question": f"{number}?",
        "answer": "a",
        "pass_rate": number / 10,
        "domain": "ab"[number % 2],
    }
    for number in range(6)
]


class Killed(BaseException):
    """The end of the process, as far as the engine can tell."""


@dataclass
class Cut(Observer):
    """Ends the run when this stage of this step begins."""

    at: int
    name: str
    kind: type[BaseException] = Killed

    def stage(self, step: int, name: str) -> None:
        if (step, name) == (self.at, self.name):
            raise Killed if self.kind is Killed else Interrupted(2)


@dataclass
class Outcome:
    """What must be equal: weights, metrics without times, completions, and what parts remember."""

    weights: str
    metrics: list[dict[str, Any]]
    rollouts: bytes
    memory: dict[str, Any]


def recipe(model: Path, out: Path, *, algorithm: dict[str, Any], **sections: Any) -> Recipe:
    """Two rewards that a random model earns sometimes, and a checkpoint every third step."""
    return Recipe.model_validate_json(
        json.dumps(
            {
                "grpokit": 1,
                "model": {
                    "id": str(model),
                    "lora": {"rank": 4, "alpha": 8},
                    "dtype": "float32",
                },
                "dataset": {"use": "inline", "with": {"rows": ROWS}},
                "prompt": {"use": "plain"},
                "rewards": [
                    {"use": "contains", "with": {"text": "a"}},
                    {
                        "use": "length",
                        "weight": 0.5,
                        "with": {"min": 2, "max": 12, "ramp": 20, "unit": "characters"},
                    },
                ],
                "scoring": {"isolate": False},
                "algorithm": algorithm,
                "rollout": {"prompts": 2, "group": 4, "max_tokens": 24},
                "optim": {"lr": 0.01, "minibatches": 2},
                "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
                "train": {
                    "steps": STEPS,
                    "save_every": 3,
                    "keep": 2,
                    "seed": 7,
                    "out": str(out),
                    "show_every": 0,
                },
                **sections,
            }
        )
    )


def run(wanted: Recipe, *cuts: Cut) -> Outcome:
    """Trains to the end, through every cut in turn."""
    catalog = Catalog.load()
    path = RunDir.create(Path(wanted.train.out), "run", wanted, {}).path
    for cut in cuts:
        try:
            train(RunDir.existing(path).recipe(), RunDir.existing(path), catalog, cut)
        except (Killed, Interrupted):
            continue
        message = f"step {cut.at} has no stage {cut.name}"
        raise AssertionError(message)
    train(RunDir.existing(path).recipe(), RunDir.existing(path), catalog, Observer())
    return outcome(path)


def outcome(path: Path) -> Outcome:
    """Of a complete run."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    checkpoint = CheckpointStore(path / "checkpoints", keep=2).newest(lambda text: None)
    assert checkpoint is not None
    final = path / "final" / "adapter_model.safetensors"
    return Outcome(
        weights=hashlib.sha256(final.read_bytes()).hexdigest(),
        metrics=rows,
        rollouts=(path / "rollouts.jsonl").read_bytes(),
        memory=checkpoint.run["loop"]["algorithm"],
    )

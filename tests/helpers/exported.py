"""Recipes for export, and exported settings without a folder around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from grpokit.compose.load import Loaded, load_recipe
from grpokit.export import trl, verl
from grpokit.export.axes import axes_of
from grpokit.export.notes import Notes
from grpokit.registry.catalog import Catalog

ROOT = Path(__file__).parents[2]
CATALOG = Catalog.load()
SMALL: dict[str, Any] = {
    "grpokit": 1,
    "model": {"id": "tiny-sums", "lora": None, "dtype": "float32"},
    "dataset": {
        "use": "arithmetic",
        "with": {"split": "train", "operands": [[0, 9], [0, 9]], "template": "{problem}"},
    },
    "rewards": [{"use": "number", "with": {"from": ["whole"]}}],
    "rollout": {"prompts": 3, "group": 4, "max_tokens": 12},
    "optim": {"lr": 3.0e-4, "schedule": "constant", "warmup": 0},
    "train": {"steps": 2, "seed": 7},
}


def recipe(folder: Path, name: str = "small", **sections: Any) -> Loaded:
    """A small recipe with other sections, read from a file as a user's is."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **sections}), encoding="utf-8")
    return load_recipe(str(path), catalog=CATALOG)


def algorithm(
    folder: Path, use: str, parts: dict[str, Any] | None = None, **settings: Any
) -> Loaded:
    """The small recipe with this algorithm."""
    section: dict[str, Any] = {"use": use, "with": settings, "parts": parts or {}}
    return recipe(folder, algorithm=section)


def trl_settings(loaded: Loaded) -> tuple[dict[str, Any], Notes]:
    """The algorithm as settings of GRPOConfig."""
    notes = Notes()
    return trl.algorithm_settings(axes_of(loaded, CATALOG), notes), notes


def verl_overrides(loaded: Loaded) -> tuple[dict[str, Any], Notes]:
    """The algorithm as overrides of verl."""
    notes = Notes()
    found = verl.algorithm_overrides(axes_of(loaded, CATALOG), loaded.recipe, notes)
    return found, notes


def told(notes: Notes, kind: str) -> dict[str, str]:
    """Key -> text of the notes of one kind."""
    return {note.key: note.text for note in notes.found if note.kind == kind}


def python(*paths: str, script: str, arguments: tuple[str, ...] = (), cwd: Path) -> Any:
    """What a script prints as its last line, in JSON; it runs in a process with these paths first."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / path) for path in paths),
            "OMP_NUM_THREADS": "1",
            "TRL_EXPERIMENTAL_SILENCE": "1",
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])

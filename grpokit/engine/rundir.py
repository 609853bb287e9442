"""The run directory: its name, its lock, its recipe, and what may change when it is resumed.

runs/quickstart-20260131-184502/
    recipe.yaml      the resolved recipe: every value, defaults included
    plan.json        components with versions and hashes, environment, arithmetic
    reward-check.json  what the check of the rewards found, or that it was skipped
    resumes.jsonl    a line a resume: the environment, the keys that changed, what --force changed
    metrics.jsonl    a line a step
    rollouts.jsonl   a line a prompt and step: completions, scores, advantages
    failures.jsonl   the first failure of each reward and kind, with its trace
    unfinished.jsonl the same of a step that failed after it was scored
    diagnosis.json   what was found in the numbers, once the run has ended or stopped
    checkpoints/     see checkpoint.py
    final/           the trained policy, once the run is complete
    eval/            evaluations of this run
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import yaml

from grpokit.compose.write import to_yaml
from grpokit.engine.checkpoint import write_atomic
from grpokit.engine.record import JsonLines
from grpokit.errors import CheckpointError, RecipeError
from grpokit.spec.recipe import Recipe

__all__ = ["RunDir", "changed_keys", "flatten", "named_run"]

SAFE_KEYS = (
    "summary",
    "train.steps",
    "train.processes",
    "train.save_every",
    "train.keep",
    "train.show_every",
    "train.on_finding",
    "train.save_rollouts",
    "train.out",
    "scoring.timeout",
    "scoring.max_error_rate",
    "scoring.memory",
    "scoring.isolate",
    "scoring.overlap",
    "optim.micro_batch",
    "optim.micro_tokens",
    "eval.",
    "callbacks",
)
"""Keys (and prefixes ending in a dot) that a resume may change without being forced."""


class RunDir:
    """One run on the disk. Use as a context manager: it holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = JsonLines(path / "metrics.jsonl")
        self.rollouts = JsonLines(path / "rollouts.jsonl")
        self.resumes = JsonLines(path / "resumes.jsonl")
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, out: Path, name: str, recipe: Recipe, plan: Mapping[str, Any]) -> RunDir:
        """Makes a new directory. Two runs started in the same second get different names.

        Raises:
            CheckpointError: ``out`` cannot be written.
        """
        try:
            return cls._create(out, name, recipe, plan)
        except OSError as error:
            raise CheckpointError(
                f"a run cannot be made there: {error.strerror or error}",
                place=str(out),
                remedy="name another folder with --set train.out=FOLDER",
            ) from error

    @classmethod
    def _create(cls, out: Path, name: str, recipe: Recipe, plan: Mapping[str, Any]) -> RunDir:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "run"
        stamp = time.strftime("%Y%m%d-%H%M%S")
        out.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            path = out / (f"{stem}-{stamp}" + (f"-{attempt + 1}" if attempt else ""))
            try:
                path.mkdir()
            except FileExistsError:
                continue
            break
        run = cls(path)
        run.write_recipe(recipe)
        run.write_plan(plan)
        return run

    @classmethod
    def existing(cls, path: Path) -> RunDir:
        """Opens a run to resume it. Raises RecipeError if the folder is none."""
        if not (path / "recipe.yaml").is_file() or not (path / "plan.json").is_file():
            raise RecipeError(
                "this folder is not a run: it has no recipe.yaml and plan.json",
                place=str(path),
                remedy="name a folder below runs/",
            )
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        return self.path / "final"

    def recipe(self) -> Recipe:
        """The resolved recipe as it was saved.

        Raises:
            CheckpointError: the file is damaged, or another version of grpokit wrote it.
        """
        path = self.path / "recipe.yaml"
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            return Recipe.model_validate_json(json.dumps(data))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise _unreadable(path, error) from error

    def write_recipe(self, recipe: Recipe) -> None:
        data = recipe.model_dump(mode="json", by_alias=True)
        write_atomic(self.path / "recipe.yaml", f"# resolved recipe of this run\n{to_yaml(data)}")

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        self.write_json("plan.json", plan, ascii_only=False)

    def write_json(self, name: str, data: Mapping[str, Any], *, ascii_only: bool = True) -> None:
        """A file of the folder, whole or not at all."""
        text = json.dumps(data, indent=1, ensure_ascii=ascii_only)
        write_atomic(self.path / name, f"{text}\n")

    def plan(self) -> dict[str, Any]:
        """The plan as it was saved. Raises CheckpointError if it is damaged."""
        path = self.path / "plan.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable(path, error) from error

    def __enter__(self) -> Self:
        try:
            lock = (self.path / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(
                f"the run cannot be written: {error.strerror or error}",
                place=str(self.path),
                remedy="copy it to a folder of your own",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise CheckpointError(
                f"another process is training in this run ({owner})",
                place=str(self.path),
                remedy="wait for it, or stop it first",
            ) from error
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} on {os.uname().nodename}\n")
        lock.flush()
        self._lock = lock
        self._clean()
        return self

    def _clean(self) -> None:
        """Removes what a killed process left half written; with the lock held it is nobody's."""
        for path in self.path.glob(".tmp-*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()  # closing releases the lock, and so does any death of the process
            self._lock = None


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    lines = str(error).splitlines()
    return CheckpointError(
        f"cannot be read: {'; '.join(line.strip() for line in lines[:3])}",
        place=str(path),
        remedy="restore the file, resume with the grpokit that wrote it, or start a new run",
    )


def named_run(name: str, out: Path = Path("runs")) -> Path:
    """The folder that a person means: a path, or ``last`` for the newest run below ``out``."""
    if name != "last" or Path(name).exists():
        return Path(name).expanduser()
    runs = [path.parent for path in out.glob("*/recipe.yaml")]
    if not runs:
        raise RecipeError(
            f"there is no run in {out}/",
            place="last",
            remedy="name a run folder, or start one: grpokit train quickstart",
        )
    return max(runs, key=lambda path: (path / "recipe.yaml").stat().st_mtime_ns)


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay whole."""
    if not isinstance(data, Mapping):
        return {prefix: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat or ({prefix: {}} if prefix else {})


def changed_keys(old: Recipe, new: Recipe, *, safe: bool = False) -> dict[str, tuple[Any, Any]]:
    """Keys with different values that a resume must not change: key -> (saved, asked).

    ``safe``: also those that it may.
    """
    before = flatten(old.model_dump(mode="json", by_alias=True))
    after = flatten(new.model_dump(mode="json", by_alias=True))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return {key: (before.get(key), after.get(key)) for key in keys if safe or not _safe(key)}


def _safe(key: str) -> bool:
    return any(key == safe or (safe.endswith(".") and key.startswith(safe)) for safe in SAFE_KEYS)

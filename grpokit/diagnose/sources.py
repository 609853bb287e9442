"""Where rows come from: a run's folder, a metrics.jsonl, TRL's trainer_state.json, or its history on wandb."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from grpokit.diagnose.rows import StepRow, json_lines, own_row, trl_row
from grpokit.errors import CheckpointError, RecipeError

__all__ = ["Source", "earlier", "find_source", "goal_of", "looks_like_a_run"]

METRICS, STATE = "metrics.jsonl", "trainer_state.json"
RECIPE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run that can be looked at.

    Attributes:
        path: the file that was read.
        kind: ``grpokit`` or ``trl``.
        rows: its steps in their order, evaluations behind the step after which they were made.
        goal: the reward that says whether an answer is right, where the recipe tells.
        rollouts: the saved rollouts; None where there are none.
    """

    path: Path
    kind: Literal["grpokit", "trl"]
    rows: tuple[StepRow, ...]
    goal: str | None = None
    rollouts: Path | None = None


def looks_like_a_run(path: Path) -> bool:
    """Whether a path is one for :func:`find_source` rather than a recipe."""
    if path.is_dir():
        return (path / "plan.json").is_file() or _file_of(path) is not None
    return path.suffix in {".json", ".jsonl", ".csv"}


def find_source(path: Path) -> Source:
    """Reads a file or a folder.

    Raises:
        RecipeError: it is not there, or it is neither a run nor a trainer's state.
        CheckpointError: it is damaged, or holds no step yet; names the line.
    """
    if not path.exists():
        raise RecipeError(
            "there is no such file or folder",
            place=str(path),
            remedy="name a run's folder (grpokit runs list), or a trainer_state.json",
        )
    file = _file_of(path) if path.is_dir() else path
    if file is None and (path / "plan.json").is_file():
        raise _no_steps(path)
    if file is None:
        raise RecipeError(
            f"this folder has no {METRICS} and no {STATE}",
            place=str(path),
            remedy="name a folder below runs/, or a checkpoint of TRL's trainer",
        )
    readers: dict[str, Callable[[Path], Source]] = {".jsonl": _own, ".csv": _wandb}
    source = readers.get(file.suffix, _trl)(file)
    if not any("reward" in row.values or "reward" in row.odd for row in source.rows):
        raise _no_steps(file)
    return source


def _no_steps(path: Path) -> CheckpointError:
    return CheckpointError(
        "there is no step with a reward in it yet",
        place=str(path),
        remedy="ask again when the run has made some steps",
    )


def _file_of(folder: Path) -> Path | None:
    """The file with the numbers: ours, else the state of the newest of a trainer's checkpoints."""
    for name in (METRICS, STATE):
        if (folder / name).is_file():
            return folder / name
    states = {
        int(found[1]): state
        for state in folder.glob(f"checkpoint-*/{STATE}")
        if (found := re.fullmatch(r"checkpoint-(\d{1,12})", state.parent.name))
    }
    return states[max(states)] if states else None


def earlier(run: Path) -> list[StepRow]:
    """The steps that a run's folder holds, evaluations behind theirs; none for a run that begins.

    Raises:
        CheckpointError: a line is damaged.
    """
    path = run / METRICS
    return _with_evaluations(path) if path.is_file() else []


def goal_of(run: Path) -> str | None:
    """The reward that says whether an answer is right, where the run's recipe tells."""
    return _goal(run / "recipe.yaml")


def _with_evaluations(path: Path) -> list[StepRow]:
    evaluations = path.with_name("evals.jsonl")
    rows = _lines(path)
    if evaluations.is_file():
        rows = sorted([*rows, *_lines(evaluations)], key=lambda row: (row.step, row.is_evaluation))
    return rows


def _own(path: Path) -> Source:
    rows = _with_evaluations(path)
    rollouts = path.with_name("rollouts.jsonl")
    return Source(
        path=path,
        kind="grpokit",
        rows=tuple(rows),
        goal=_goal(path.with_name("recipe.yaml")),
        rollouts=rollouts if rollouts.is_file() else None,
    )


def _lines(path: Path) -> list[StepRow]:
    """All rows; a last line without an end is one that is just being written."""
    rows = []
    for number, row in json_lines(_bytes(path).split(b"\n")):
        try:
            if isinstance(row, ValueError):
                raise row
            rows.append(own_row(row))
        except ValueError as error:
            raise CheckpointError(
                f"this line is no row of a run's numbers: {error}",
                place=f"{path}:{number}",
                remedy="restore the file; only the run itself may write to it",
            ) from error
    return rows


def _trl(path: Path) -> Source:
    """The log history without its last entry, the summary of the whole run."""
    try:
        state = json.loads(_bytes(path))
        history = state["log_history"]
        rows = [trl_row(entry) for entry in history if "train_runtime" not in entry]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecipeError(
            f"this is no state of a trainer: {type(error).__name__}: {error}",
            place=str(path),
            remedy=f"name a {STATE} as TRL writes it into its checkpoints, or a run's folder",
        ) from error
    return Source(path=path, kind="trl", rows=tuple(rows))


def _wandb(path: Path) -> Source:
    """``run.history()`` or ``run.scan_history()`` of TRL's trainer as a table.

    wandb has the names behind `train/` and `eval/`, and a cell for each number of any row.
    """
    lines = _bytes(path).decode("utf-8", errors="replace").splitlines(keepends=True)
    try:
        table = [_entry(row) for row in csv.DictReader(lines)]
    except csv.Error as error:
        raise _no_history(path, str(error)) from error
    rows = [trl_row(entry) for entry in table if entry is not None]
    if not rows:
        raise _no_history(path, "no row has a number in the column train/global_step or _step")
    return Source(path=path, kind="trl", rows=tuple(rows))


def _entry(row: Mapping[str | None, Any]) -> dict[str, Any] | None:
    """A row of the table as the trainer has logged it; None where it is none of a step."""
    found: dict[str, Any] = {}
    for name, cell in row.items():
        if isinstance(name, str) and isinstance(cell, str) and cell.strip():
            with suppress(ValueError):  # a name, a time, a table: no number
                short = name.removeprefix("train/")
                found[f"eval_{name[5:]}" if name.startswith("eval/") else short] = float(cell)
    step = found.get("global_step", found.get("_step"))
    if step is None or not step.is_integer() or "train_runtime" in found:  # or the run's summary
        return None
    return {**found, "step": int(step)}


def _no_history(path: Path, fact: str) -> RecipeError:
    return RecipeError(
        f"this is no history of a run: {fact}",
        place=str(path),
        remedy="write one with wandb: pandas.DataFrame(run.scan_history()).to_csv(...)",
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}",
            place=str(path),
            remedy="name a file that you may read",
        ) from error


def _goal(path: Path) -> str | None:
    """``eval.correct`` of the recipe, or its only reward of the greatest weight."""
    try:
        with path.open("rb") as file:
            data = yaml.safe_load(file.read(RECIPE_BYTES))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    chosen = data.get("eval")
    if isinstance(chosen, dict) and isinstance(chosen.get("correct"), str):
        return str(chosen["correct"])
    listed = data.get("rewards")
    weights: dict[str, float] = {}
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and isinstance(name := _name(each), str):
            weight = each.get("weight", 1.0)
            weights[name] = abs(weight) if isinstance(weight, int | float) else 0.0
    best = [name for name, weight in weights.items() if weight == max(weights.values())]
    return best[0] if len(best) == 1 else None


def _name(section: Mapping[str, Any]) -> object:
    use = section.get("use")
    return section.get("name") or (use.rpartition("/")[2] if isinstance(use, str) else None)

"""Folders of runs with chosen numbers, and TRL's state of a trainer with the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fed_diagnoses import SOUND
from grpokit.diagnose.rows import TRL_NAMES
from saved_runs import saved_run

__all__ = ["numbered_run", "sound_rows", "trainer_state", "wandb_table"]


def sound_rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Rows of a sound run that learns a little; ``changes`` are values for all of them, ``a__b`` stands for ``a/b``."""
    sound = {
        **SOUND,
        "seconds": {"total": 1.0},
        **{name.replace("__", "/"): value for name, value in changes.items()},
    }
    return [{"step": step, "reward": 0.3 + 0.0008 * step, **sound} for step in range(1, count + 1)]


def numbered_run(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]] | None = None,
    **sections: Any,
) -> Path:
    """A run's folder with these metrics and rollouts."""
    folder = saved_run(out, groups, **sections)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, "utf-8")
    return folder


def wandb_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The same as wandb exports it: names behind `train/`, and wandb's own columns."""
    state = json.loads(trainer_state(path.parent / "state", rows).read_text("utf-8"))
    history = [
        {
            "_step": place,
            "_timestamp": 1.7e9 + place,
            "name": "a run, with a comma",
            **{f"train/{name}": value for name, value in entry.items() if name != "step"},
            "train/global_step": float(entry["step"]),
        }
        for place, entry in enumerate(state["log_history"])
    ]
    columns = list(dict.fromkeys(name for entry in history for name in entry))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        table.writerows(history)
    return path


def trainer_state(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows under TRL's names, as its trainer writes them into a checkpoint."""
    theirs = {ours: name for name, ours in TRL_NAMES.items()}
    ours_only = {
        "dead_groups_high",
        "abstained",
        "failures",
        "optimizer_steps",
        "tokens",
        "seconds",
    }
    history = [
        {theirs.get(name, name): value for name, value in row.items() if name not in ours_only}
        for row in rows
    ]
    end = {"step": len(rows), "train_runtime": 9.5, "train_loss": 0.01}
    state = {"global_step": len(rows), "log_history": [*history, end], "logging_steps": 1}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trainer_state.json"
    path.write_text(json.dumps(state), "utf-8")  # NaN as `NaN`, as transformers does
    return path

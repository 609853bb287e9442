"""What ``runs list`` and ``runs show`` know: small files, and the ends of large ones.

A run that is being written is read as it stands. Nothing is locked, and no damaged file is an error:
what cannot be read is not shown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

__all__ = ["Listed", "State", "find_runs", "json_object", "read_run"]

State = Literal["complete", "running", "stopped", "broken"]
TAIL = 1 << 18
"""Bytes at the end of metrics.jsonl that are read, and of a recipe at most."""
ALIASES = 8
"""In a recipe. A run writes none."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run.

    Attributes:
        state: complete (the trained policy is there), running (a process holds its lock), stopped,
            or broken (its recipe cannot be read).
        step: the last step in its metrics.
        reward: the mean reward of that step.
        date: when its files changed last, in seconds since 1970.
    """

    path: Path
    recipe: str
    state: State
    step: int
    planned: int | None
    reward: float | None
    date: float
    data: Mapping[str, Any]
    last: Mapping[str, Any]


def find_runs(folder: Path) -> list[Listed]:
    """The runs right below a folder, newest first."""
    runs = [read_run(path.parent) for path in folder.glob("*/recipe.yaml")]
    return sorted(runs, key=lambda run: (run.date, run.path.name), reverse=True)


def read_run(path: Path) -> Listed:
    """A run as it stands."""
    data = _yaml(path / "recipe.yaml")
    last = _last_row(path / "metrics.jsonl")
    train = data.get("train") if isinstance(data.get("train"), dict) else {}
    planned = train.get("steps") if isinstance(train, dict) else None
    step = last.get("step")
    reward = last.get("reward")
    return Listed(
        path=path,
        recipe=_name(path),
        state=_state(path, data, planned),
        step=step if isinstance(step, int) else 0,
        planned=planned if isinstance(planned, int) else None,
        reward=float(reward) if isinstance(reward, int | float) else None,
        date=_date(path),
        data=data,
        last=last,
    )


def _state(path: Path, data: Mapping[str, Any], planned: object) -> State:
    if not data:
        return "broken"
    if _locked(path / ".lock"):
        return "running"
    done = json_object(path / "final" / "run.json").get("step")
    whole = isinstance(done, int) and isinstance(planned, int) and done >= planned
    return "complete" if whole else "stopped"


def _locked(lock: Path) -> bool:
    """Whether a process holds the lock. It is looked up, not tried: a trial would disturb a start."""
    try:
        inode = lock.stat().st_ino
        held = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return _owner_lives(lock)
    return bool(re.search(rf"FLOCK .*:{inode} ", held))


def _owner_lives(lock: Path) -> bool:
    try:
        found = re.match(r"pid (\d+) on (.+)", lock.read_text(encoding="utf-8"))
        if found is None or found[2] != os.uname().nodename:
            return False
        os.kill(int(found[1]), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError, UnicodeError):
        return False
    return True


def _name(path: Path) -> str:
    """The recipe's name: the plan has it, and so has the folder, before the date."""
    name = json_object(path / "plan.json").get("name")
    return (
        name if isinstance(name, str) and name else re.sub(r"-\d{8}-\d{6}(-\d+)?$", "", path.name)
    )


def _date(path: Path) -> float:
    times = []
    for name in ("recipe.yaml", "metrics.jsonl"):
        try:
            times.append((path / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


class _Loader(yaml.SafeLoader):
    """Few aliases only: with many, a small file is a value of gigabytes once it is shown.

    Not the loader in C, which deep nesting kills; this one takes 3 ms.
    """

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > ALIASES:
                raise yaml.YAMLError("too many aliases")
        return super().compose_node(parent, index)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > TAIL:
            return {}
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  # a safe one
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def json_object(path: Path) -> dict[str, Any]:
    """A small file of JSON; empty where it cannot be read or holds anything else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _last_row(path: Path) -> dict[str, Any]:
    """The last complete line of a file of JSON lines."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return row
    return {}

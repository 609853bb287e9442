"""What trackers have in common. One of them is what it opens, how it sends numbers, and how it ends.

A tracker's run belongs to a run folder: ``trackers/NAME.json`` there holds its id and the last step that
was sent. A resumed run continues the same tracker's run: steps that are taken again, because they came
after the last checkpoint, are not sent twice, and what a tracker lost when the run was killed is sent from
the run's own records.
"""

from __future__ import annotations

import json
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from grpokit.api import Completion, Config, Problem, Recipe, StepRecord

__all__ = [
    "Note",
    "Tracker",
    "TrackerConfig",
    "flat",
    "missing",
    "numbers_of",
    "rows_of",
    "settings_of",
]

_SECRET = re.compile(
    r"(key|token|secret|password|passwd|credentials?|authorization)s?$", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(not logged)"


class TrackerConfig(Config):
    """What every tracker can be told."""

    samples: int = Field(default=0, ge=0)
    """Completions of a step's first question to log as text; 0 logs none."""
    samples_every: int = Field(default=10, ge=1)
    """Steps between logged completions."""


def missing(module: str, extra: str, package: str) -> Iterator[Problem]:
    """An error where the package of a tracker is not installed."""
    if find_spec(module) is None:
        yield Problem(
            level="error",
            fact=f"the package {package} is not installed, which this callback needs",
            remedy=f"pip install 'grpokit[{extra}]', or pip install {package}",
        )


def numbers_of(record: StepRecord) -> dict[str, float]:
    """A step's numbers by the names that trackers show: ``train/reward``, ``rewards/NAME/mean``, ``seconds/update``.

    Names with a part before a slash stay as they are in ``metrics.jsonl``, so that charts are grouped.
    """
    named = {key if "/" in key else f"train/{key}": value for key, value in record.metrics.items()}
    seconds = {
        f"seconds/{key.replace('/', '.')}": value for key, value in record.seconds.items()
    }  # a name that is also a folder of names is none to MLflow's files
    return _finite(named | seconds)


def _finite(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe without secrets: values of keys like ``api_key``, and passwords in addresses."""
    data: dict[str, Any] = recipe.model_dump(mode="json", by_alias=True)
    return {key: _public(key, value) for key, value in data.items()}


def _public(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _public(str(name), item) for name, item in value.items()}
    if isinstance(value, list):
        return [_public(key, item) for item in value]
    if isinstance(value, str):
        return _HIDDEN if value and _SECRET.search(key) else _USERINFO.sub(_HIDDEN, value)
    return value


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names; items of a list by their number."""
    if isinstance(data, dict | list) and data:
        pairs = data.items() if isinstance(data, dict) else enumerate(data)
        found: dict[str, Any] = {}
        for key, value in pairs:
            found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: data}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a record of the run: a resume has cut them back to its checkpoint."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Note:
    """``trackers/NAME.json`` in a run's folder: which tracker's run it is, and what was sent."""

    def __init__(self, run: Path, name: str) -> None:
        self.path = run / "trackers" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.json"
        self.id = ""
        self.step = self.evaluated = 0
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            self.id, self.step, self.evaluated = data["id"], data["step"], data["evaluated"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a new run, or a note that was torn: the tracker begins anew

    def write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        data = {"id": self.id, "step": self.step, "evaluated": self.evaluated}
        temporary = self.path.with_name(f".tmp-{self.path.name}-{os.getpid()}")
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8")
        temporary.replace(self.path)


class Tracker(ABC):
    """A callback that sends numbers somewhere. It is built without importing the tracker's package."""

    name: str
    """Of the note; two uses of a tracker that differ in where they send have different ones."""

    def __init__(self, config: TrackerConfig) -> None:
        self.shared = config
        self.note: Note | None = None

    @abstractmethod
    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        """Begins a tracker's run, or continues the one of ``note.id``.

        Sets ``note.id``, and ``note.step`` and ``note.evaluated`` to what the tracker really has.
        """

    @abstractmethod
    def send(self, step: int, numbers: Mapping[str, float]) -> None: ...

    @abstractmethod
    def show(self, step: int, samples: Sequence[Completion]) -> None:
        """Logs completions as text."""

    @abstractmethod
    def close(self, *, complete: bool) -> None: ...

    def on_start(self, run: Path, recipe: Recipe) -> None:
        note = Note(run, self.name)
        self.open(run, recipe, note)
        self.note = note
        for row in rows_of(run / "metrics.jsonl"):
            numbers = {key: row[key] for key in row if key not in {"step", "seconds"}}
            self.on_step(StepRecord(step=row["step"], metrics=numbers, seconds=row["seconds"]), ())
        for row in rows_of(run / "evals.jsonl"):
            self.on_evaluation(row["step"], {key: row[key] for key in row if key != "step"})
        note.write()

    def on_step(self, record: StepRecord, samples: Sequence[Completion]) -> None:
        note = self.note
        if note is None or record.step <= note.step:
            return
        self.send(record.step, numbers_of(record))
        if samples and self.shared.samples and (record.step - 1) % self.shared.samples_every == 0:
            self.show(record.step, samples[: self.shared.samples])
        note.step = record.step
        note.write()

    def on_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        note = self.note
        if note is None or step <= note.evaluated:
            return
        self.send(step, _finite({f"eval/{key}": value for key, value in metrics.items()}))
        note.evaluated = step
        note.write()

    def on_end(self, run: Path) -> None:
        self._close(complete=True)

    def on_stop(self, run: Path) -> None:
        self._close(complete=False)

    def _close(self, *, complete: bool) -> None:
        if self.note is not None:
            self.note = None
            self.close(complete=complete)

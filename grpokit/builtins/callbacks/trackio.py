"""trackio: a database on this machine (``trackio show``), or a Hugging Face Space where one is named."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from grpokit.api import Completion, Problem, Recipe
from grpokit.builtins.callbacks.tracker import (
    Note,
    Tracker,
    TrackerConfig,
    missing,
    settings_of,
)

__all__ = ["Trackio", "TrackioConfig", "preflight"]


_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioConfig(TrackerConfig):
    """Settings of the callback `trackio`."""

    project: str = "grpokit"
    """The project."""
    space: str | None = None
    """Hugging Face Space, `USER/NAME`, that shows the runs; left out, TRACKIO_SPACE_ID decides, and else they stay on this machine."""


def preflight(_config: TrackioConfig) -> Iterable[Problem]:
    return missing("trackio", "trackio", "trackio")


def _held(project: str, run: str) -> tuple[int, int]:
    """The last step and the last evaluated step in the database: a killed run may lose its last moment."""
    from trackio.sqlite_storage import SQLiteStorage

    step = evaluated = 0
    for row in SQLiteStorage.get_logs(project, run):
        if any(key.startswith("eval/") for key in row):
            evaluated = max(evaluated, row["step"])
        elif "seconds/total" in row:
            step = max(step, row["step"])
    return step, evaluated


class Trackio(Tracker):
    def __init__(self, config: TrackioConfig) -> None:
        super().__init__(config)
        self.config = config
        self.name = f"trackio-{config.project}"
        self.run: Any = None

    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        import trackio

        with redirect_stdout(io.StringIO()):  # it greets
            self.run = trackio.init(
                project=self.config.project,
                name=run.name,
                space_id=self.config.space,
                config=settings_of(recipe),
                resume="allow" if note.id else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        remote = self.config.space or any(name in os.environ for name in _REMOTE)
        if note.id and not remote:
            note.step, note.evaluated = _held(self.config.project, run.name)
        note.id = run.name

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)

    def show(self, step: int, samples: Sequence[Completion]) -> None:
        texts = {f"samples/{place}": each.text for place, each in enumerate(samples)}
        self.run.log(texts, step=step)

    def close(self, *, complete: bool) -> None:
        import trackio

        with redirect_stdout(io.StringIO()):
            trackio.finish()

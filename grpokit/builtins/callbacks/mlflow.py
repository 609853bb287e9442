"""MLflow, through its client: no global state, and no network unless the tracking address is remote."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from grpokit.api import Completion, Problem, Recipe
from grpokit.builtins.callbacks.tracker import (
    Note,
    Tracker,
    TrackerConfig,
    flat,
    missing,
    settings_of,
)

__all__ = ["Mlflow", "MlflowConfig", "preflight"]

VALUE = 500
"""Characters of a parameter: what every MLflow since 1.28 takes."""


_DATABASES = frozenset({"", "sqlite", "postgresql", "mysql", "mssql"})
"""Kinds of tracking addresses that need a database; MLflow's own default is one."""


class MlflowConfig(TrackerConfig):
    """Settings of the callback `mlflow`."""

    experiment: str = "grpokit"
    """The experiment; it is made if it does not exist."""
    uri: str | None = None
    """Tracking address; left out, MLflow's own choice: MLFLOW_TRACKING_URI, else a database in the working directory."""


def preflight(config: MlflowConfig) -> Iterator[Problem]:
    """mlflow-skinny can write to a server and to files, and not to the database that is the default."""
    yield from missing("mlflow", "mlflow", "mlflow")
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if find_spec("mlflow") and not find_spec("sqlalchemy") and uri.partition(":")[0] in _DATABASES:
        yield Problem(
            level="error",
            fact="mlflow-skinny alone cannot write into a database, which this tracking address means",
            remedy="pip install mlflow, or set uri (or MLFLOW_TRACKING_URI) to a server",
        )


class Mlflow(Tracker):
    def __init__(self, config: MlflowConfig) -> None:
        super().__init__(config)
        self.config = config
        self.name = f"mlflow-{config.experiment}"
        self.client: Any = None
        self.run = ""

    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.config.uri)
        if note.id:
            self.run = note.id
            self.client.update_run(self.run, status="RUNNING")
            note.step, note.evaluated = self._last("seconds/total"), self._last("eval/accuracy")
            return
        found = self.client.get_experiment_by_name(self.config.experiment)
        experiment = (
            found.experiment_id if found else self.client.create_experiment(self.config.experiment)
        )
        tags = {"grpokit.run": str(run)}
        made = self.client.create_run(experiment, run_name=run.name, tags=tags)
        self.run = note.id = made.info.run_id
        self._params(flat(settings_of(recipe)))

    def _last(self, name: str) -> int:
        history = self.client.get_metric_history(self.run, name)
        return max((point.step for point in history), default=0)

    def _params(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        every = [Param(_name(key), str(value)[:VALUE]) for key, value in settings.items()]
        for start in range(0, len(every), 100):
            self.client.log_batch(self.run, params=every[start : start + 100])

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(key), value, now, step) for key, value in numbers.items()]
        self.client.log_batch(self.run, metrics=metrics)

    def show(self, step: int, samples: Sequence[Completion]) -> None:
        texts = "\n\n".join(f"--- {place}\n{each.text}" for place, each in enumerate(samples))
        self.client.log_text(self.run, texts, f"samples/step-{step:06d}.txt")

    def close(self, *, complete: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if complete else "KILLED")


def _name(key: str) -> str:
    """MLflow takes letters, digits and ``_ - . : /`` and spaces."""
    return re.sub(r"[^\w\-. :/]", "_", key, flags=re.ASCII)

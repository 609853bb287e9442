"""A small run that several trackers watch, in a process of its own: they are not installed beside everything else.

python tracked_runs.py begin MODEL FOLDER     trains, and kills itself without a word at step 6
python tracked_runs.py resume MODEL FOLDER    goes on from the checkpoint of step 3, to the end; then begins
                                              a run of its own, which is interrupted at step 2
python tracked_runs.py read FOLDER            what the trackers have of the runs, as JSON
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

CALLBACKS: list[dict[str, Any]] = [
    {"use": "tensorboard", "with": {"samples": 2, "samples_every": 4}},
    {"use": "wandb", "with": {"project": "p", "tags": ["a"], "samples": 1}},
    {"use": "trackio", "with": {"project": "p", "samples": 1}},
    {"use": "mlflow", "with": {"experiment": "e", "samples": 1}},
]


def train(model: Path, folder: Path, how: str) -> None:
    from grpokit.engine.observer import Observer
    from grpokit.engine.rundir import RunDir
    from grpokit.engine.session import train as run_training
    from grpokit.errors import Interrupted
    from grpokit.evaluate.run import during_training
    from grpokit.registry.catalog import Catalog
    from resume_runs import Cut, recipe

    class Said(Observer):
        def say(self, text: str, *, warning: bool = False) -> None:
            print(text, file=sys.stderr)

    class Dies(Said):
        def stage(self, step: int, name: str) -> None:
            if (step, name) == (6, "update"):
                os.kill(os.getpid(), signal.SIGKILL)

    uri = f"file://{folder / 'mlruns'}"
    callbacks = [
        {**each, "with": {**each["with"], "uri": uri}} if each["use"] == "mlflow" else each
        for each in CALLBACKS
    ]
    wanted = recipe(
        model,
        folder / "runs",
        algorithm={"use": "grpo"},
        callbacks=callbacks,
        eval={"dataset": {"use": "arithmetic"}, "limit": 2, "every": 2, "max_tokens": 4},
    )
    catalog = Catalog.load()
    evaluator = during_training(wanted, catalog)
    if how == "begin":
        run = RunDir.create(folder / "runs", "begin", wanted, {})
        run_training(wanted, run, catalog, Dies(), evaluator)
    run = RunDir.existing(next((folder / "runs").glob("begin-*")))
    run_training(wanted, run, catalog, Said(), evaluator)
    run = RunDir.create(folder / "runs", "stop", wanted, {})
    with suppress(Interrupted):
        run_training(wanted, run, catalog, Cut(2, "update", Interrupted), evaluator)


def read(folder: Path) -> dict[str, Any]:
    runs = {path.name.split("-")[0]: path for path in (folder / "runs").iterdir()}
    return {
        "runs": {name: str(path) for name, path in runs.items()},
        "tensorboard": {name: tensorboard(path / "tensorboard") for name, path in runs.items()},
        "wandb": {name: wandb_files(path / "wandb") for name, path in runs.items()},
        "trackio": trackio_rows(),
        "mlflow": mlflow_runs(folder),
    }


def tensorboard(folder: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    return {
        "scalars": {
            tag: [[event.step, event.value] for event in events.Scalars(tag)]
            for tag in tags["scalars"]
        },
        "texts": {
            tag: [
                [event.step, event.tensor_proto.string_val[0].decode()]
                for event in events.Tensors(tag)
            ]
            for tag in tags["tensors"]
        },
    }


def wandb_files(folder: Path) -> list[dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    from grpokit.builtins.callbacks.offline import log_records

    found = []
    for path in sorted(folder.glob("offline-run-*/*.wandb")):
        told: dict[str, Any] = {"rows": [], "id": "", "config": {}, "exit": None}
        for data in log_records(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                told |= {"id": record.run.run_id, "name": record.run.display_name}
                told["project"] = record.run.project
                for item in record.run.config.update:
                    told["config"][item.key] = json.loads(item.value_json)
            elif kind == "history":
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                told["rows"].append(row)
            elif kind == "exit":
                told["exit"] = record.exit.exit_code
        found.append(told)
    return found


def trackio_rows() -> dict[str, list[dict[str, Any]]]:
    path = Path(os.environ["TRACKIO_DIR"]) / "p.db"
    with sqlite3.connect(path) as connection:
        rows = connection.execute("select run_name, step, metrics from metrics order by id")
        found: dict[str, list[dict[str, Any]]] = {}
        for run, step, metrics in rows:
            found.setdefault(run.split("-")[0], []).append({"step": step, **json.loads(metrics)})
    return found


def mlflow_runs(folder: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"file://{folder / 'mlruns'}")
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    return {
        run.info.run_name.split("-")[0]: {
            "status": run.info.status,
            "params": run.data.params,
            "metrics": {
                name: [
                    [point.step, point.value]
                    for point in client.get_metric_history(run.info.run_id, name)
                ]
                for name in run.data.metrics
            },
            "samples": [file.path for file in client.list_artifacts(run.info.run_id, "samples")],
        }
        for run in client.search_runs([experiment.experiment_id])
    }


if __name__ == "__main__":
    if sys.argv[1] == "read":
        print(json.dumps(read(Path(sys.argv[2]))))
    else:
        train(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[1])

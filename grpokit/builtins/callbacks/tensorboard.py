"""TensorBoard: event files in ``RUN/tensorboard``. No PyTorch and no TensorFlow is needed, and no network."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpokit.api import Completion, Problem, Recipe
from grpokit.builtins.callbacks.tracker import (
    Note,
    Tracker,
    TrackerConfig,
    missing,
    rows_of,
    settings_of,
)

__all__ = ["TensorBoard", "TensorBoardConfig", "preflight"]


class TensorBoardConfig(TrackerConfig):
    """Settings of the callback `tensorboard`."""

    folder: str | None = None
    """Folder for the event files of all runs, each in a folder of its own name; `RUN/tensorboard` by default."""


def preflight(_config: TensorBoardConfig) -> Iterable[Problem]:
    return missing("tensorboard", "tensorboard", "tensorboard")


class TensorBoard(Tracker):
    name = "tensorboard"

    def __init__(self, config: TensorBoardConfig) -> None:
        super().__init__(config)
        self.config = config
        self.writer: Any = None
        self.shown = 0

    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        """A resumed run marks where it goes on: what older files hold from there on no longer counts."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = run / "tensorboard"
        if self.config.folder is not None:
            folder = Path(self.config.folder).expanduser() / run.name
        self.shown, note.id, note.step, note.evaluated = note.step, str(folder), 0, 0
        again = any(folder.glob("events.out.tfevents.*"))
        self.writer = EventFileWriter(str(folder), flush_secs=10)
        if again:
            note.step, note.evaluated = (
                _last(run / name) for name in ("metrics.jsonl", "evals.jsonl")
            )
            start = SessionLog(status=SessionLog.START)
            mark = Event(wall_time=time.time(), step=note.step + 1, session_log=start)
            self.writer.add_event(mark)
        else:
            self._text(0, "recipe", json.dumps(settings_of(recipe), indent=1, ensure_ascii=False))
        self.writer.flush()

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        self._write(step, Summary(value=values))
        self.writer.flush()  # a run may be killed, or watched

    def show(self, step: int, samples: Sequence[Completion]) -> None:
        if step <= self.shown:
            return  # the mark of a resume withdraws numbers, not texts
        for place, sample in enumerate(samples):
            self._text(step, f"samples/{place}", sample.text)

    def _text(self, step: int, tag: str, text: str) -> None:
        """As code: TensorBoard renders Markdown, and a completion is hostile text."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        code = "\n".join(f"    {line}" for line in text.splitlines())
        tensor = TensorProto(
            dtype=DT_STRING,
            string_val=[code.encode(errors="backslashreplace")],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        value = Summary.Value(tag=f"{tag}/text_summary", metadata=about, tensor=tensor)
        self._write(step, Summary(value=[value]))

    def _write(self, step: int, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self, *, complete: bool) -> None:
        self.writer.close()


def _last(record: Path) -> int:
    rows = rows_of(record)
    return int(rows[-1]["step"]) if rows else 0

"""What rewards failed on: the first of each kind is said, and written with its trace.

``failures.jsonl`` is a log for people. It is not cut back on resume, and a resumed run says again what
still happens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grpokit.engine.record import JsonLines
from grpokit.errors import CheckpointError
from grpokit.spec.flow import ScoreFailure, Scores

__all__ = ["FailureLog"]

Say = Callable[[str], None]


class FailureLog:
    """Tells of each reward's first failure of each kind; at most as many as there are kinds."""

    def __init__(self, path: Path, say: Say) -> None:
        self._file = JsonLines(path)
        self._say = say
        self._told: set[tuple[str, str]] = set()

    def add(self, step: int, scores: Scores) -> None:
        """Takes the failures of a step."""
        new: dict[tuple[str, str], ScoreFailure] = {}
        for failure in scores.failures:
            key = (failure.reward, failure.kind)
            if key not in self._told:
                new.setdefault(key, failure)
        for (name, kind), failure in new.items():
            self._told.add((name, kind))
            count = sum((f.reward, f.kind) == (name, kind) for f in scores.failures)
            self._say(
                f"step {step}: the reward {name} of {failure.plugin} failed on {count} completions "
                f"({kind}); first on data set row {failure.row}, completion {failure.sample}: "
                f"{failure.message}"
            )
        if new:
            self._write(step, list(new.values()))

    def _write(self, step: int, failures: list[ScoreFailure]) -> None:
        rows = [{"step": step, **vars(failure)} for failure in failures]
        try:
            self._file.append(rows)
        except CheckpointError as error:  # training goes on without this log
            self._say(f"failures could not be written: {error}")

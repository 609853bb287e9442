"""What a run tells the terminal. The engine knows only this protocol; cli/live.py draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.spec.contracts import Callback
from grpokit.spec.flow import Rollout, Scores, StepRecord

__all__ = ["Observer", "RunEnd", "Watchers"]


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How a run ended: ``steps`` finished of ``planned``, and the file of the trained policy."""

    run: Path
    steps: int
    planned: int
    final: Path | None
    best_step: int | None


class Observer:
    """Does nothing; the command line overrides what it shows."""

    def start(self, run: Path, first: int, last: int, rewards: Sequence[str]) -> None:
        """The run begins or continues at step ``first``."""

    def stage(self, step: int, name: str) -> None:
        """A stage of the step begins: generate, score, update, save, evaluate."""

    def weighed(self, step: int, advantages: Mapping[int, Sequence[float]]) -> None:
        """The advantages of the groups that went on, by their place in the rollout; ``step`` follows."""

    def step(self, record: StepRecord, rollout: Rollout, scores: Scores) -> None:
        """A step is finished and recorded."""

    def go_on(self) -> None:
        """Asked before each step: raises GrpokitError where the run is to end here, saved."""

    def saved(self, step: int, folder: Path) -> None:
        """A checkpoint is safe on the disk."""

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """An evaluation during training has finished."""

    def say(self, text: str, *, warning: bool = False) -> None:
        """Something worth a line."""

    def end(self, end: RunEnd) -> None:
        """The run is complete."""


_OPTIONAL = frozenset({"on_evaluation", "on_stop"})
"""Methods of a callback that came later: one that lacks them is not asked."""


class Watchers:
    """Callbacks of plugins. One that fails is reported once and then left alone."""

    def __init__(self, callbacks: dict[str, Callback], observer: Observer) -> None:
        self._callbacks = dict(callbacks)
        self._observer = observer

    def call(self, method: str, *arguments: Any) -> None:
        for name, callback in list(self._callbacks.items()):
            if method in _OPTIONAL and not hasattr(callback, method):
                continue
            try:
                getattr(callback, method)(*arguments)
            except Exception as error:  # noqa: BLE001  an observer must never stop a run
                del self._callbacks[name]
                fact = f"{type(error).__name__}: {error}"
                self._observer.say(
                    f"callback {name} failed in {method} and is switched off: {fact}", warning=True
                )

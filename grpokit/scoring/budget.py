"""How many failures a run bears. A reward that fails too often, or never scores, ends the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grpokit.errors import RewardError
from grpokit.spec.flow import ScoreFailure, Scores

__all__ = ["SILENT", "ErrorBudget", "check_stop", "place_of"]

WINDOW = 20
"""Steps over which failures are counted."""
ENOUGH = 20
"""Calls below which a share says nothing yet."""
SILENT = 3
"""Steps in a row without a single score."""


@dataclass(frozen=True)
class _Step:
    calls: int
    failed: int


class ErrorBudget:
    """Counts failed calls of each reward over the last 20 steps.

    The run ends (:class:`RewardError`, exit code 4)

    * when more than ``max_error_rate`` of a reward's calls failed, among at least 20 calls
      (``max_error_rate`` 0: at the first failure);
    * when every call of one step failed, however few they were;
    * when no completion got a total score in 3 steps in a row;
    * when a reward says so, by raising ``RewardError`` itself.

    ``max_error_rate`` 1 switches the first two off.
    """

    def __init__(self, max_error_rate: float, *, window: int = WINDOW) -> None:
        self.max_error_rate = max_error_rate
        self._window = window
        self._steps: dict[str, deque[_Step]] = {}
        self._silent = 0

    def add(self, scores: Scores) -> None:
        """Counts a step.

        Raises:
            RewardError: the budget is spent; names the plugin, the row, the cause and the remedy.
        """
        check_stop(scores)
        failures: dict[str, list[ScoreFailure]] = {name: [] for name in scores.rewards}
        for failure in scores.failures:
            failures[failure.reward].append(failure)
        for name, values_PG in scores.rewards.items():
            calls = sum(len(group) for group in values_PG)
            steps = self._steps.setdefault(name, deque(maxlen=self._window))
            steps.append(_Step(calls, len(failures[name])))
        total = [value for group in scores.total for value in group]
        scored = any(value is not None for value in total)
        self._silent = 0 if scored or not total else self._silent + 1
        for name, found in failures.items():
            if found:
                self._check(name, found)
        if self._silent >= SILENT:
            raise self._nothing_scored(scores)

    def state(self) -> dict[str, Any]:
        """JSON data that :meth:`load_state` takes: a resumed run counts on."""
        steps = {n: [[s.calls, s.failed] for s in kept] for n, kept in self._steps.items()}
        return {"steps": steps, "silent": self._silent}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._steps = {
            name: deque((_Step(*pair) for pair in kept), maxlen=self._window)
            for name, kept in state["steps"].items()
        }
        self._silent = state["silent"]

    def _check(self, name: str, found: list[ScoreFailure]) -> None:
        if self.max_error_rate >= 1:
            return
        steps = self._steps[name]
        calls, failed = sum(step.calls for step in steps), sum(step.failed for step in steps)
        enough = calls >= ENOUGH or self.max_error_rate == 0
        spent = enough and failed > self.max_error_rate * calls
        if spent or steps[-1].failed >= steps[-1].calls:
            first = found[0]
            raise RewardError(
                f"{failed} of {calls} calls failed ({failed / calls:.1%}, "
                f"scoring.max_error_rate is {self.max_error_rate:.1%}); the last: {first.message}",
                place=place_of(first),
                remedy=first.remedy,
            )

    def _nothing_scored(self, scores: Scores) -> RewardError:
        names = ", ".join(scores.rewards)
        if scores.failures:
            first = scores.failures[0]
            fact = f"no completion was scored in {SILENT} steps in a row: {first.message}"
            return RewardError(fact, place=place_of(first), remedy=first.remedy)
        return RewardError(
            f"every reward with a weight ({names}) returned None for every completion "
            f"in {SILENT} steps in a row, so there is nothing to learn from",
            remedy="`grpokit plan` shows what each reward says about real rows of the data set",
        )


def check_stop(scores: Scores) -> None:
    """Raises the error of a reward that wants the run to end, such as a budget that is spent."""
    for failure in scores.failures:
        if failure.kind == "stop":
            raise RewardError(failure.message, place=place_of(failure), remedy=failure.remedy)


def place_of(failure: ScoreFailure) -> str:
    """Reward, plugin, row and completion of a failure."""
    return (
        f"reward {failure.reward} of {failure.plugin}, "
        f"data set row {failure.row}, completion {failure.sample}"
    )

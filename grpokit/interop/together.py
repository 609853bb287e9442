"""Questions that several threads ask at the same time, scored as one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from grpokit.spec.flow import Scores

if TYPE_CHECKING:
    from grpokit.interop.rewards import Asking

__all__ = ["Together"]


class _Waiting:
    """One question, until it has scores or an error."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.scores: Scores | None = None
        self.error: Exception | None = None

    @property
    def open(self) -> bool:
        return self.scores is None and self.error is None


class Together:
    """Calls ``score`` for one thread at a time, with what all threads have asked meanwhile."""

    def __init__(self, score: Callable[[Sequence[Asking]], Scores]) -> None:
        self._score = score
        self._turn = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[_Waiting] = []

    def __call__(self, asking: Asking) -> Scores:
        """The scores of this question alone; raises what scoring it raises."""
        mine = _Waiting(asking)
        with self._door:
            self._waiting.append(mine)
        with self._turn:
            if mine.open:
                self._answer_all(mine)
        if mine.error is not None:
            raise mine.error
        assert mine.scores is not None
        return mine.scores

    def _answer_all(self, mine: _Waiting) -> None:
        with self._door:
            taken, self._waiting = self._waiting, []
        try:
            self._answer(taken)
        finally:  # after Ctrl-C the others are still there
            left = [each for each in taken if each.open and each is not mine]
            with self._door:
                self._waiting[:0] = left

    def _answer(self, taken: Sequence[_Waiting]) -> None:
        try:
            scores = self._score([each.asking for each in taken])
        except Exception as error:  # noqa: BLE001  # raised again by the thread that asked
            if len(taken) == 1:
                taken[0].error = error
                return
            for each in taken:  # one of them is to blame
                self._answer([each])
            return
        for position, each in enumerate(taken):
            each.scores = _part(scores, position)


def _part(scores: Scores, position: int) -> Scores:
    """The scores of one prompt of a batch."""
    return Scores(
        rewards={name: [table[position]] for name, table in scores.rewards.items()},
        components={name: [table[position]] for name, table in scores.components.items()},
        total=[scores.total[position]],
        failures=tuple(
            replace(each, prompt_index=0, row=0)
            for each in scores.failures
            if each.prompt_index == position
        ),
        seconds=scores.seconds,
        weights=scores.weights,
    )

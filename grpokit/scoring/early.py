"""Scoring begins while completions are still being drawn: groups go to the workers as they are complete.

There is no thread. Rewards run in processes of their own; whoever draws calls :meth:`Early.pump` between
two tokens, which passes on what there is and does not wait.

The scores are those of a rollout that is scored at once. Groups are handed over in their order, so that a
reward that remembers sees them in the same one; a reward that compares the whole batch gets it whole,
afterwards; and what was handed over is compared with the rollout in the end: where it differs, or a worker
cannot be started, everything is scored again.
"""

from __future__ import annotations

import selectors
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from grpokit.errors import GrpokitError
from grpokit.scoring.call import Batch, Item, Question
from grpokit.scoring.lane import Lane, tend
from grpokit.scoring.wire import UnsendableError
from grpokit.spec.flow import Completion

__all__ = ["Early", "items_of"]


def items_of(p: int, group: Sequence[Completion]) -> list[Item]:
    """A group's completions as rewards get them."""
    return [Item(p, g, c.text, c.finish, len(c.token_ids)) for g, c in enumerate(group)]


class Early:
    """The scoring of one rollout, from its first complete group on.

    A context manager around the drawing: if that raises, the workers drop what they have.

    Attributes:
        lanes: all rewards; those of the batch form wait.
        items: completions that were handed over.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        selector: selectors.BaseSelector,
        questions: Sequence[Question],
        group: int,
    ) -> None:
        self.lanes = lanes
        self.selector = selector
        self.items: list[Item] = []
        self._batch = Batch(questions, self.items)
        self._begun = [lane for lane in lanes if lane.asked and lane.asked.form != "batch"]
        self._waiting: dict[int, list[Item]] = {}
        self._next = 0
        self._broken = False
        for lane in self._begun:
            lane.begin(self._batch)
            assert lane.ledger is not None
            lane.ledger.size = len(questions) * group

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._give_up()

    def finished(self, p: int, group: Sequence[Completion]) -> None:
        """Group ``p`` is complete."""
        self._waiting[p] = items_of(p, group)
        try:
            while not self._broken and self._next in self._waiting:
                self._add(self._waiting.pop(self._next))
        except UnsendableError:  # told by the scoring of the whole, which knows the rows
            self._give_up()

    def pump(self) -> None:
        """Passes on what workers and trainer have for one another, without waiting."""
        if self._broken or not any(lane.busy for lane in self.lanes):
            return
        try:
            tend(self.lanes, self.selector, 0.0)
        except (GrpokitError, UnsendableError):  # the same comes of the scoring of the whole
            self._give_up()

    def goes_on(self, lane: Lane, batch: Batch) -> bool:
        """Whether the lane has the batch, now with all of its completions; else it must begin."""
        if lane not in self._begun or self._broken:
            return False
        if list(batch.items[: len(self.items)]) != self.items:
            self._give_up()
            return False
        rest: dict[int, list[Item]] = {}
        for item in batch.items[len(self.items) :]:
            rest.setdefault(item.question, []).append(item)
        for group in rest.values():
            self._add(group)
        return True

    def _add(self, group: list[Item]) -> None:
        self.items += group
        self._next += 1
        for lane in self._begun:
            lane.more(len(group))

    def _give_up(self) -> None:
        self._broken = True
        for lane in self._begun:
            lane.abandon()

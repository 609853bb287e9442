"""What the rewards said, as tables by prompt and sample: scores, components, totals, failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpokit.scoring.call import Batch, Item
from grpokit.scoring.values import Outcome
from grpokit.spec.flow import ScoreFailure

if TYPE_CHECKING:
    from grpokit.scoring.scorer import RewardSetup

__all__ = ["Table", "Tables"]

Table = list[list[float | None]]


class Tables:
    """Scores, components and totals as lists by prompt and sample."""

    def __init__(self, batch: Batch, indices: Sequence[int]) -> None:
        self.batch = batch
        self.indices = indices
        self.rewards: dict[str, Table] = {}
        self.components: dict[str, Table] = {}
        self.total = self._empty()
        self.failures: list[ScoreFailure] = []
        self._failed: set[tuple[int, int]] = set()

    def add(self, setup: RewardSetup, outcomes: Sequence[Outcome]) -> None:
        scores = self.rewards[setup.name] = self._empty()
        for item, outcome in zip(self.batch.items, outcomes, strict=True):
            p, g = item.question, item.sample
            scores[p][g] = outcome.value
            for name, value in outcome.components.items():
                part = f"{setup.name}/{name}"
                if part not in self.components:
                    self.components[part] = self._empty()
                self.components[part][p][g] = value
            if outcome.fault is not None:
                self._fail(setup, item, outcome)
            if setup.weight:
                self._weigh(p, g, setup.weight, outcome)

    def _weigh(self, p: int, g: int, weight: float, outcome: Outcome) -> None:
        if outcome.fault is not None:
            self._failed.add((p, g))
            self.total[p][g] = None
        elif outcome.value is not None and (p, g) not in self._failed:
            self.total[p][g] = (self.total[p][g] or 0.0) + weight * outcome.value

    def _fail(self, setup: RewardSetup, item: Item, outcome: Outcome) -> None:
        fault = outcome.fault
        assert fault is not None
        self.failures.append(
            ScoreFailure(
                reward=setup.name,
                plugin=setup.entry.origin,
                row=self.indices[item.question],
                prompt_index=item.question,
                sample=item.sample,
                kind=fault.kind,
                message=fault.message,
                remedy=fault.remedy,
                trace=fault.trace,
            )
        )

    def _empty(self) -> Table:
        counts = [0] * len(self.batch.questions)
        for item in self.batch.items:
            counts[item.question] += 1
        return [[None] * count for count in counts]

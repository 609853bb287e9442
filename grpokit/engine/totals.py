"""What a run has used so far. The counts go into every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

__all__ = ["Totals"]


@dataclass(kw_only=True)
class Totals:
    """Counts since the first step.

    Attributes:
        questions_seen: prompts drawn, those of dropped groups too.
        completions_generated: completions drawn for them.
        completions_trained: completions that took part in an update.
        forwards_saved: forward passes of completions that generation paid for and the update did not.
        optimizer_steps: optimiser steps taken.
    """

    questions_seen: int = 0
    completions_generated: int = 0
    completions_trained: int = 0
    forwards_saved: int = 0
    optimizer_steps: int = 0

    def plus(
        self, *, questions: int, generated: int, trained: int, forwards: int, optimizer_steps: int
    ) -> Totals:
        """The counts after one more step; ``forwards`` are those of one completion in an update."""
        return Totals(
            questions_seen=self.questions_seen + questions,
            completions_generated=self.completions_generated + generated,
            completions_trained=self.completions_trained + trained,
            forwards_saved=self.forwards_saved + max(0, generated - trained) * forwards,
            optimizer_steps=self.optimizer_steps + optimizer_steps,
        )

    def metrics(self) -> dict[str, float]:
        return {f"total/{name}": value for name, value in asdict(self).items()}

    def state(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def of(cls, state: Mapping[str, int]) -> Totals:
        return cls(**state)

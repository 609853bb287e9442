"""More than two models on the same questions: each against the first, and the curve of a run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.evaluate.paired import Comparison
from grpokit.evaluate.records import Evaluation, compare_evaluations
from grpokit.evaluate.several import holm

__all__ = ["Ladder", "Point", "climb"]


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """The first model, and every other one against it.

    Attributes:
        comparisons: one for each but the first, in their order.
        adjusted: p of each comparison by Holm's method, for as many as there are.
    """

    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    adjusted: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """What ``summary.json`` says beside the models."""
        first, *others = self.evaluations
        return {
            "comparisons": [
                {"first": first.label, "second": other.label, "p_holm": p, **found.as_dict()}
                for other, found, p in zip(others, self.comparisons, self.adjusted, strict=True)
            ]
        }


def climb(evaluations: Sequence[Evaluation]) -> Ladder:
    """Pairs every evaluation with the first, question by question.

    Raises:
        PreflightError: two did not answer the same questions, or not equally often.
    """
    found = tuple(compare_evaluations(evaluations[0], other) for other in evaluations[1:])
    return Ladder(
        evaluations=tuple(evaluations),
        comparisons=found,
        adjusted=holm([each.p for each in found]),
    )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A checkpoint on the curve of its run."""

    run: str
    step: int
    label: str
    accuracy: float
    interval: tuple[float, float]

    def as_dict(self) -> Mapping[str, Any]:
        return {**vars(self), "interval": list(self.interval)}

"""Axis ``allocate``: which groups go on to the update, and whether the step asks more questions."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grpokit.algorithms.metric import metric_of
from grpokit.errors import PreflightError
from grpokit.spec.flow import Allocation, Gathered, Outcome, Scores
from grpokit.spec.seeds import derive_seed

__all__ = ["DynamicSampling", "Rounds", "StdFilter", "fixed", "group_stds", "rescue"]


def fixed(gathered: Gathered) -> Allocation:
    """Every group of one round, whatever it is worth."""
    return Allocation(keep=tuple(range(len(gathered.rollout.prompts))))


def rescue(gathered: Gathered) -> Allocation:
    """Groups without signal are replaced by copies of informative ones (POLARIS).

    The batch keeps its size and costs no further round. Which group is copied is drawn by lot from the
    seed of the step; copies train like any other group, so the copied one weighs more. Degenerate:
    without a single informative group all go on as they are.
    """
    dead_P: list[bool] = gathered.advantages.dead_P.tolist()
    live = [place for place, dead in enumerate(dead_P) if not dead]
    if not live:
        return fixed(gathered)
    sampling = gathered.rollout.sampling
    lot = random.Random(derive_seed(sampling.seed, "rescue", sampling.step))  # noqa: S311
    keep = tuple(lot.choice(live) if dead else place for place, dead in enumerate(dead_P))
    return Allocation(keep=keep)


def group_stds(scores: Scores, metric: str, part: str) -> list[float | None]:
    """Standard deviation (over n) of each group's metric; None where fewer than two are known."""
    found: list[float | None] = []
    for group in metric_of(scores, metric, part):
        known = [float(value) for value in group if value is not None]
        found.append(statistics.pstdev(known) if len(known) > 1 else None)
    return found


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Rounds of questions until the wanted number of groups passes.

    The first round asks ``factor`` times the step's prompts. Each further one asks as many again
    (``refill`` round, as verl and the paper do), or only as many as are missing. Surplus groups are
    cut: the first ones stay. After ``max_rounds`` the run ends, or trains on what has passed
    (``on_bound``); if none has, on the first groups, which is to say on penalties alone.
    """

    factor: float = 1.0
    max_rounds: int = 10
    refill: Literal["round", "missing"] = "round"
    on_bound: Literal["error", "train"] = "error"

    def first(self, prompts: int) -> int:
        """Prompts of the first round."""
        return math.ceil(self.factor * prompts - 1e-9)

    def allocate(self, gathered: Gathered, passed: list[int], why: str) -> Allocation:
        """``passed`` are positions of the groups that may train; ``why`` says what they have.

        Raises:
            PreflightError: the bound is reached.
        """
        missing = gathered.wanted - len(passed)
        if missing <= 0:
            return Allocation(keep=tuple(passed[: gathered.wanted]))
        if gathered.rounds < self.max_rounds:
            more = self.first(gathered.wanted) if self.refill == "round" else missing
            return Allocation(keep=(), more=more)
        count = len(gathered.rollout.prompts)
        if self.on_bound == "train":
            return Allocation(keep=tuple(passed or range(min(gathered.wanted, count))))
        raise PreflightError(
            f"after {gathered.rounds} rounds {len(passed)} of {count} groups have {why}; "
            f"{gathered.wanted} are wanted",
            place=f"step {gathered.rollout.sampling.step}",
            remedy="take questions that the model solves sometimes, raise max_rounds, "
            "or set on_bound: train",
        )


@dataclass(frozen=True, kw_only=True)
class DynamicSampling:
    """DAPO's dynamic sampling (arXiv 2503.14476): only groups whose metric differs train.

    A group passes if the standard deviation of ``metric`` over its known values is above
    ``tolerance``. The metric should be the accuracy: a total that is shaped by length differs nearly
    always. Degenerate: a group with fewer than two known values does not pass.
    """

    metric: str = "total"
    tolerance: float = 1e-8
    rounds: Rounds = field(default_factory=Rounds)

    def first(self, prompts: int) -> int:
        return self.rounds.first(prompts)

    def __call__(self, gathered: Gathered, /) -> Allocation:
        stds_P = group_stds(gathered.scores, self.metric, "dynamic-sampling")
        passed = [p for p, std in enumerate(stds_P) if std is not None and std > self.tolerance]
        return self.rounds.allocate(gathered, passed, f"different values of {self.metric}")


@dataclass(kw_only=True)
class StdFilter:
    """RLPR's filter (arXiv 2506.18254): groups with a low deviation against its mean are dropped.

    From step ``start`` on a group passes if std > beta * mean. The mean of the deviations of all groups
    drawn in a step is averaged over the steps from ``since`` to ``start`` - 1; from there on

        mean <- ratio * mean + (1 - ratio) * that of the last step

    Before ``start`` every group with two known values passes. So does the authors' code. Over n or
    n - 1 makes no difference to which groups pass, as long as all have the same size.

    Attributes:
        mean: the running mean; None before the first step that counts.
        steps: steps that it is the plain average of.
    """

    metric: str = "total"
    beta: float = 0.5
    ratio: float = 0.99
    since: int = 6
    start: int = 11
    rounds: Rounds = field(default_factory=Rounds)
    mean: float | None = None
    steps: int = 0

    def first(self, prompts: int) -> int:
        return self.rounds.first(prompts)

    def __call__(self, gathered: Gathered, /) -> Allocation:
        stds_P = group_stds(gathered.scores, self.metric, "std-filter")
        acts = self.mean is not None and gathered.rollout.sampling.step >= self.start
        bound = self.beta * self.mean if acts and self.mean is not None else -1.0
        passed = [p for p, std in enumerate(stds_P) if std is not None and std > bound]
        return self.rounds.allocate(gathered, passed, f"a deviation of {self.metric} > {bound:.3g}")

    def observe(self, outcome: Outcome) -> None:
        known = [
            std for std in group_stds(outcome.scores, self.metric, "std-filter") if std is not None
        ]
        if not known or outcome.step < self.since:
            return
        new = statistics.fmean(known)
        if self.mean is None or outcome.step < self.start:
            self.mean = ((self.mean or 0.0) * self.steps + new) / (self.steps + 1)
            self.steps += 1
        else:
            self.mean = self.ratio * self.mean + (1 - self.ratio) * new

    def state(self) -> Mapping[str, Any]:
        return {"mean": self.mean, "steps": self.steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.mean, self.steps = state["mean"], state["steps"]

"""Axis ``allocate``: places that pruning frees go to completions of further questions."""

from __future__ import annotations

from dataclasses import dataclass

from grpokit.api import Allocation, ComponentError, Gathered, GrpokitError
from grpokit_cppo.config import AllocationConfig

__all__ = ["Allocate", "build"]


@dataclass(frozen=True, kw_only=True)
class Allocate:
    """Dynamic completion allocation (CPPO, arXiv 2503.22342).

    With rate r a question keeps G (1 - r) completions, so P / (1 - r) questions fill the P G places of
    a step that P questions fill under GRPO. ``fixed``, as the authors' code has it, asks so many once.
    ``refill`` also drops the questions whose advantages are all 0, and asks as many others, until the
    batch is full or ``max_rounds`` are over; then the step trains on what there is (in whole shares of
    ``devices``), or the run ends, as ``on_bound`` says.

    Degenerate: with rate 0 ``fixed`` is one round of the recipe's questions. Where no question of all
    rounds has a signal those of the first go on, and only a divergence can train on them.
    """

    config: AllocationConfig
    place: str = "algorithm.parts.allocate.with"

    def first(self, prompts: int) -> int:
        """Questions that fill a step.

        Raises:
            ComponentError: no whole number of them does.
        """
        problem = self.config.problem(prompts)
        if problem is not None:
            setting, fact, remedy = problem
            raise ComponentError(fact, place=f"{self.place}.{setting}", remedy=remedy)
        return self.config.questions(prompts)

    def __call__(self, gathered: Gathered) -> Allocation:
        config = self.config
        count = len(gathered.rollout.prompts)
        if config.mode == "fixed":
            return Allocation(keep=tuple(range(count)))
        dead_P: list[bool] = gathered.advantages.dead_P.tolist()
        live = [p for p in range(count) if not dead_P[p]]
        missing = self.first(gathered.wanted) - len(live)
        if missing <= 0:
            return Allocation(keep=tuple(live[: len(live) + missing]))
        if gathered.rounds < config.max_rounds:
            return Allocation(keep=(), more=missing)
        if config.on_bound == "error":
            raise GrpokitError(
                f"after {gathered.rounds} rounds {len(live)} of {count} questions have a signal; "
                f"{len(live) + missing} are wanted",
                place=f"step {gathered.rollout.sampling.step}",
                remedy=f"set {self.place}.on_bound: train, raise max_rounds, or take questions that "
                "the model solves sometimes",
            )
        whole = len(live) - len(live) % config.devices
        return Allocation(keep=tuple(live[:whole] or range(self.first(gathered.wanted))))


def build(config: AllocationConfig) -> Allocate:
    """What ``algorithm.parts.allocate: {use: cppo/allocate}`` builds."""
    return Allocate(config=config)

"""What passes between the halves of a step, and what is noted on the way."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from grpokit.spec.contracts import Task
from grpokit.spec.flow import Advantages, Gathered, Rollout, Scores, Selection, StepRecord

__all__ = ["Batch", "Pending", "Stages", "StepResult", "Unfinished"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The groups of all rounds of a step, and which of them go on.

    Attributes:
        whole: all groups, with the advantages that they have among one another.
        kept: positions of those that go on; one may come twice.
        rollout, scores, advantages: of those.
        position: where in the walk the next step begins.
        stale: the first groups of ``whole`` that were drawn with the weights of the step before.
    """

    whole: Gathered
    kept: tuple[int, ...]
    rollout: Rollout
    scores: Scores
    advantages: Advantages
    position: int
    stale: int = 0


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Everything a step produced, for the records and the terminal."""

    record: StepRecord
    batch: Batch
    selection: Selection


@dataclass(frozen=True)
class Unfinished:
    """What a step has generated and scored, round by round. It is kept if the step fails."""

    step: int
    rounds: list[tuple[Rollout, Scores]] = field(default_factory=list)

    def generated(self, rollout: Rollout) -> None:
        """A round that has no scores yet."""
        total = [[None] * len(group) for group in rollout.completions]
        self.rounds.append((rollout, Scores(rewards={}, components={}, total=total)))

    def scored(self, scores: Scores) -> None:
        """The scores of the last round."""
        self.rounds[-1] = (self.rounds[-1][0], scores)


@dataclass
class Stages:
    """Wall time of each stage, in seconds, over all its rounds."""

    enter: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.enter(name)
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A step between its selection and the end of its update."""

    index: int
    stages: Stages
    began: float
    batch: Batch
    selection: Selection
    task: Task
    ready: float

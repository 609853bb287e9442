"""One step. The loop never asks which algorithm it runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from grpokit.compose.prompts import PromptMaker
from grpokit.engine.merge import merge_rollouts, merge_scores, pick_rollout, pick_scores
from grpokit.engine.metrics import step_metrics
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.engine.ranks import Ranks
from grpokit.engine.totals import Totals
from grpokit.errors import NonFiniteError
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.early import Early
from grpokit.scoring.facts import Facts
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import (
    Algorithm,
    Announces,
    Dataset,
    LoopBackend,
    ShouldStop,
    StepBackend,
    Task,
)
from grpokit.spec.flow import (
    Advantages,
    Gathered,
    Outcome,
    Prompt,
    Resets,
    Rollout,
    Sampling,
    Scores,
    Selection,
    StepRecord,
    Update,
)
from grpokit.spec.recipe import PromptSection

__all__ = ["Batch", "Loop", "Pending", "StepResult", "train_on"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The groups of all rounds of a step, and which of them go on.

    Attributes:
        whole: all groups, with the advantages that they have among one another.
        kept: positions of those that go on; one may come twice.
        rollout, scores, advantages: of those.
        position: where in the walk the next step begins.
    """

    whole: Gathered
    kept: tuple[int, ...]
    rollout: Rollout
    scores: Scores
    advantages: Advantages
    position: int


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


@dataclass(kw_only=True)
class Loop:
    """The parts of a run, and the two halves of a step that put them together.

    Attributes:
        prompts: groups a step, as the recipe has it.
        forwards: forward passes of one completion in an update.
        position: where in the walk the next step begins.
        totals: what the run has used so far.
        ranks: the processes that share the run.
        overlap: groups are scored while others are drawn.
        unfinished: the rounds of a step that has not ended.
    """

    backend: StepBackend | LoopBackend
    algorithm: Algorithm
    dataset: Dataset
    order: RowOrder
    scorer: Scorer
    budget: ErrorBudget
    prompt: PromptSection
    sampling: Sampling
    observer: Observer
    poll: ShouldStop
    prompts: int
    forwards: int = 1
    position: int = 0
    totals: Totals = field(default_factory=Totals)
    ranks: Ranks = field(default_factory=Ranks)
    overlap: bool = False
    unfinished: Unfinished | None = None

    def step(self, index: int) -> StepResult:
        """A whole step, on a backend that leaves the loop to us.

        If it raises, the policy, the place in the data set and what parts remember are unchanged.
        """
        pending = self.begin(index)
        return self.finish(pending, self.train(pending.task))

    def begin(self, index: int) -> Pending:
        """Generate, score, advantages, select. Changes nothing."""
        stages = Stages(lambda name: self.observer.stage(index, name))
        start = time.perf_counter()
        batch = self.gather(index, stages)
        selection = self.algorithm.select(batch.rollout, batch.scores, batch.advantages)
        self.observer.stage(index, "update")
        return Pending(
            index=index,
            stages=stages,
            began=start,
            batch=batch,
            selection=selection,
            task=self.task(index, batch, selection),
            ready=time.perf_counter(),
        )

    def train(self, task: Task) -> Update:
        """The update of a step, on a backend that leaves the loop to us; the same on all ranks."""
        backend = cast("StepBackend", self.backend)
        if self.ranks.count == 1:
            return train_on(backend, task)
        done: list[Update] = []
        self.ranks.every(lambda: done.append(train_on(backend, task)))
        return done[0]

    def finish(self, pending: Pending, update: Update) -> StepResult:
        """The step is trained: parts take note of it, and the record is made."""
        index, batch, selection = pending.index, pending.batch, pending.selection
        now = time.perf_counter()
        metrics = step_metrics(batch.whole, batch.kept, selection, update)
        self.commit(index, batch, metrics, update)
        metrics |= self.totals.metrics()
        epochs = self.order.epochs(self.position)
        if epochs is not None:
            metrics["epoch"] = epochs
        seconds = {
            **pending.stages.seconds,
            "update": now - pending.ready,
            **{f"update/{name}": value for name, value in update.seconds.items()},
            **{f"score/{name}": value for name, value in batch.whole.scores.seconds.items()},
            "total": time.perf_counter() - pending.began,
        }
        record = StepRecord(step=index, metrics=metrics, seconds=seconds)
        return StepResult(record=record, batch=batch, selection=selection)

    def gather(self, index: int, stages: Stages) -> Batch:
        """Rounds of generating and scoring until the algorithm has the groups it wants."""
        sampling = self.algorithm.sampling(replace(self.sampling, step=index))
        make = PromptMaker(self.prompt, self.dataset)
        position, count = self.position, self.algorithm.first(self.prompts)
        whole: Gathered | None = None
        self.unfinished = left = Unfinished(index)
        while True:
            drawn = self.algorithm.draw(self.order, position, count, index)
            position = drawn.position
            with stages("generate"):
                rollout, early = self.generate(make(drawn.rows), sampling)
            left.generated(rollout)
            facts = self.facts(rollout, stages)
            with stages("score"):
                score = partial(self.scorer.score, should_stop=self.poll, facts=facts)
                if early is not None:
                    score = partial(score, early=early)
                scores = self.ranks.score(score, rollout)
                left.scored(scores)
                self.budget.add(scores)
            self.ranks.every(self.poll)
            whole = self.together(whole, rollout, scores, index)
            allocation = self.algorithm.allocate(whole)
            if not allocation.more:
                return self.cut(whole, allocation.keep, position, index)
            count = allocation.more

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> tuple[Rollout, Early | None]:
        """The completions, and their scoring where it has begun already."""
        backend: Any = self.backend
        early = None
        if self.overlap and self.ranks.count == 1 and isinstance(backend, Announces):
            early = self.scorer.early(prompts, sampling.group)
        if early is None:
            return self.ranks.generate(backend, prompts, sampling, self.poll), None

        def poll() -> None:
            self.poll()
            early.pump()

        with early, backend.announcing(early.finished):
            rollout: Rollout = backend.generate(prompts, sampling, poll)
        return rollout, early

    def facts(self, rollout: Rollout, stages: Stages) -> Facts | None:
        """What rewards want to know from the policy that drew; most want nothing."""
        if not self.scorer.measures:
            return None
        with stages("measure"):
            return self.ranks.facts(self.scorer, self.backend, rollout, self.poll)

    def together(
        self, before: Gathered | None, rollout: Rollout, scores: Scores, index: int
    ) -> Gathered:
        """The groups of the rounds before and of this one, with their advantages."""
        if before is not None:
            rollout = merge_rollouts(before.rollout, rollout)
            scores = merge_scores(before.scores, scores)
        return Gathered(
            rollout=rollout,
            scores=scores,
            advantages=self.advantages(rollout, scores, index),
            wanted=self.prompts,
            rounds=before.rounds + 1 if before else 1,
        )

    def cut(self, whole: Gathered, keep: tuple[int, ...], position: int, index: int) -> Batch:
        """The groups that go on. Where they are not all, their advantages are computed anew.

        Without a single one the step takes them all: what the update has to do then, it does.
        """
        keep = keep or tuple(range(len(whole.rollout.prompts)))
        rollout, scores, advantages = whole.rollout, whole.scores, whole.advantages
        if keep != tuple(range(len(rollout.prompts))):
            rollout, scores = pick_rollout(rollout, keep), pick_scores(scores, keep)
            advantages = self.advantages(rollout, scores, index)
        return Batch(
            whole=whole,
            kept=keep,
            rollout=rollout,
            scores=scores,
            advantages=advantages,
            position=position,
        )

    def advantages(self, rollout: Rollout, scores: Scores, index: int) -> Advantages:
        found = self.algorithm.advantages(rollout, scores)
        if bool(found.advantages_PG.isfinite().all()):
            return found
        raise NonFiniteError(
            "the algorithm made advantages that are not finite",
            place=f"step {index}",
            remedy="repair the part `advantage` of the algorithm, or scale the rewards down",
        )

    def task(self, index: int, batch: Batch, selection: Selection) -> Task:
        """What is left of the step.

        Nothing of a run can be saved between a reset of the policy and the end of the update, so an
        interrupt waits that long; and so it does where several ranks must do the same. Where nothing
        trains, the policy stays what it has become.
        """
        resets = self.algorithm.resets(index)
        if resets.policy and not any(selection.weights):
            resets = Resets()
        return Task(
            step=index,
            loss=self.algorithm.loss,
            rollout=batch.rollout,
            advantages=batch.advantages,
            selection=selection,
            resets=resets,
            should_stop=None if resets.policy or self.ranks.count > 1 else self.poll,
        )

    def commit(
        self, index: int, batch: Batch, metrics: Mapping[str, float], update: Update
    ) -> None:
        """Takes note of a finished step. Nothing before this changed anything but the backend."""
        self.algorithm.observe(
            Outcome(
                step=index,
                rollout=batch.whole.rollout,
                scores=batch.whole.scores,
                kept=batch.kept,
                metrics=metrics,
            )
        )
        self.unfinished = None
        self.position = batch.position
        self.totals = self.totals.plus(
            questions=len(batch.whole.rollout.prompts),
            generated=sum(map(len, batch.whole.rollout.completions)),
            trained=int(metrics["trained_rows"]),
            forwards=self.forwards,
            optimizer_steps=update.optimizer_steps,
        )

    def state(self) -> dict[str, Any]:
        """What the steps so far left behind, besides the backend: JSON, for a checkpoint."""
        return {
            "position": self.position,
            "totals": self.totals.state(),
            "algorithm": dict(self.algorithm.state()),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.position = state["position"]
        self.totals = Totals.of(state["totals"])
        self.algorithm.load_state(state["algorithm"])


def train_on(backend: StepBackend, task: Task) -> Update:
    """Resets what the step wants reset, and trains."""
    if task.resets != Resets():
        backend.reset(task.resets)
    return backend.update(
        task.loss, task.rollout, task.advantages, task.selection, task.step, task.should_stop
    )

"""One step. The loop never asks which algorithm it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from grpokit.compose.prompts import PromptMaker
from grpokit.engine.ahead import Ahead, Opening
from grpokit.engine.halves import Batch, Pending, Stages, StepResult, Unfinished
from grpokit.engine.merge import merge_rollouts, merge_scores, pick_rollout, pick_scores
from grpokit.engine.metrics import step_metrics
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.engine.ranks import Ranks
from grpokit.engine.totals import Totals
from grpokit.errors import GrpokitError, NonFiniteError
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.early import Early
from grpokit.scoring.facts import Facts
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import (
    Algorithm,
    Announces,
    Dataset,
    DrawsAhead,
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
        ahead: what is drawn for the next step while this one trains.
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
    ahead: Ahead = field(default_factory=Ahead)

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
        task = self.task(index, batch, selection)
        self.look_ahead(task, batch.position, stages)
        self.observer.stage(index, "update")
        return Pending(
            index=index,
            stages=stages,
            began=start,
            batch=batch,
            selection=selection,
            task=task,
            ready=time.perf_counter(),
        )

    def train(self, task: Task) -> Update:
        """The update of a step, on a backend that leaves the loop to us; the same on all ranks."""
        backend = cast("StepBackend", self.backend)
        if self.ranks.count == 1:
            try:
                return train_on(backend, task)
            except BaseException:
                self.ahead.drop()
                raise
        done: list[Update] = []
        self.ranks.every(lambda: done.append(train_on(backend, task)))
        return done[0]

    def finish(self, pending: Pending, update: Update) -> StepResult:
        """The step is trained: parts take note of it, and the record is made."""
        index, batch, selection = pending.index, pending.batch, pending.selection
        now = time.perf_counter()
        metrics = step_metrics(batch.whole, batch.kept, selection, update)
        metrics |= self.ahead.numbers(batch.stale, batch.kept)
        drawn = self.ahead.seconds(index)
        self.commit(index, batch, metrics, update)
        metrics |= self.totals.metrics()
        epochs = self.order.epochs(self.position)
        if epochs is not None:
            metrics["epoch"] = epochs
        seconds = {
            **pending.stages.seconds,
            **drawn,
            "update": now - pending.ready,
            **{f"update/{name}": value for name, value in update.seconds.items()},
            **{f"score/{name}": value for name, value in batch.whole.scores.seconds.items()},
            "total": time.perf_counter() - pending.began,
        }
        record = StepRecord(step=index, metrics=metrics, seconds=seconds)
        return StepResult(record=record, batch=batch, selection=selection)

    def gather(self, index: int, stages: Stages) -> Batch:
        """Rounds of generating and scoring until the algorithm has the groups it wants."""
        given = self.ahead.opening(index)
        opening = given or self.opening(index, self.position)
        make = PromptMaker(self.prompt, self.dataset)
        prompts, position = make(opening.rows), opening.position
        whole: Gathered | None = None
        self.unfinished = left = Unfinished(index)
        while True:
            with stages("generate"):
                if given is not None and whole is None:
                    rollout, early = self.ahead.rollout(self.poll), None
                else:
                    rollout, early = self.generate(prompts, opening.sampling)
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
                stale = len(given.rows) if given else 0
                return replace(self.cut(whole, allocation.keep, position, index), stale=stale)
            drawn = self.algorithm.draw(self.order, position, allocation.more, index)
            prompts, position = make(drawn.rows), drawn.position

    def opening(self, index: int, position: int) -> Opening:
        """What the first round of a step asks, and how all of its rounds are drawn."""
        count = self.algorithm.first(self.prompts)
        drawn = self.algorithm.draw(self.order, position, count, index)
        return Opening(
            step=index,
            rows=drawn.rows,
            prompts=tuple(PromptMaker(self.prompt, self.dataset)(drawn.rows)),
            position=drawn.position,
            sampling=self.algorithm.sampling(replace(self.sampling, step=index)),
        )

    def look_ahead(self, task: Task, position: int, stages: Stages) -> None:
        """Begins to draw for the next step, if there is one and the policy does not begin anew."""
        if task.step >= self.ahead.last or task.resets.policy:
            return
        try:
            opening = self.opening(task.step + 1, position)
        except GrpokitError:
            return  # no row is left, say: the step that needs one raises it, unless it has learnt better
        with stages("sync"):
            self.ahead.begin(opening, cast("DrawsAhead", self.backend), self.poll)

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
        self.ahead.advance()
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

    def load_ahead(self, folder: Path) -> bool:
        """Takes what a checkpoint holds for the next step; False if the recipe no longer asks for it."""
        return self.ahead.read(folder, PromptMaker(self.prompt, self.dataset))


def train_on(backend: StepBackend, task: Task) -> Update:
    """Resets what the step wants reset, and trains."""
    if task.resets != Resets():
        backend.reset(task.resets)
    return backend.update(
        task.loss, task.rollout, task.advantages, task.selection, task.step, task.should_stop
    )

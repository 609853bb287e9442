"""One step. The loop never asks which algorithm it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from grpokit.compose.prompts import make_prompts
from grpokit.engine.metrics import step_metrics
from grpokit.engine.observer import Observer
from grpokit.engine.order import RowOrder
from grpokit.errors import NonFiniteError
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import Algorithm, Dataset, ShouldStop, StepBackend
from grpokit.spec.flow import Advantages, Prompt, Rollout, Sampling, Scores, Selection, StepRecord
from grpokit.spec.recipe import PromptSection

__all__ = ["Loop", "StepResult"]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Everything a step produced, for the records and the terminal."""

    record: StepRecord
    rollout: Rollout
    scores: Scores
    advantages: Advantages
    selection: Selection


@dataclass
class Stages:
    """Wall time of each stage, in seconds."""

    enter: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.enter(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@dataclass(kw_only=True)
class Loop:
    """The parts of a run, and the one function that puts them together."""

    backend: StepBackend
    algorithm: Algorithm
    dataset: Dataset
    order: RowOrder
    scorer: Scorer
    budget: ErrorBudget
    prompt: PromptSection
    sampling: Sampling
    observer: Observer
    poll: ShouldStop

    def prompts(self, index: int) -> list[Prompt]:
        """The P prompts of step ``index``."""
        return make_prompts(self.prompt, self.dataset, self.order.step(index))

    def step(self, index: int) -> StepResult:
        """Generate, score, advantages, select, update. If it raises, the policy is unchanged."""
        stages = Stages(lambda name: self.observer.stage(index, name))
        start = time.perf_counter()
        sampling = replace(self.sampling, step=index)
        with stages("generate"):
            rollout = self.backend.generate(self.prompts(index), sampling, self.poll)
        with stages("score"):
            scores = self.scorer.score(rollout, self.poll)
            self.budget.add(scores)
        self.poll()
        advantages = self.algorithm.advantages(scores)
        if not bool(advantages.advantages_PG.isfinite().all()):
            raise NonFiniteError(
                "the algorithm made advantages that are not finite",
                place=f"step {index}",
                remedy="repair the part `advantage` of the algorithm, or scale the rewards down",
            )
        selection = self.algorithm.select(rollout, scores, advantages)
        with stages("update"):
            update = self.backend.update(
                self.algorithm.loss, rollout, advantages, selection, index, self.poll
            )
        metrics = step_metrics(rollout, scores, advantages, selection, update)
        epoch = self.order.epoch_of(index)
        if epoch is not None:
            metrics["epoch"] = epoch
        seconds = {
            **stages.seconds,
            **{f"update/{name}": value for name, value in update.seconds.items()},
            **{f"score/{name}": value for name, value in scores.seconds.items()},
            "total": time.perf_counter() - start,
        }
        record = StepRecord(step=index, metrics=metrics, seconds=seconds)
        return StepResult(
            record=record,
            rollout=rollout,
            scores=scores,
            advantages=advantages,
            selection=selection,
        )

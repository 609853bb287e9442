"""A run from start to end, new or resumed. The command line enters the engine here."""

from __future__ import annotations

import shlex
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from grpokit.algorithms import build_algorithm
from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.engine.checkpoint import CheckpointStore
from grpokit.engine.loop import Loop, StepResult
from grpokit.engine.metrics import rollout_rows
from grpokit.engine.observer import Observer, RunEnd, Watchers
from grpokit.engine.order import RowOrder
from grpokit.engine.publish import publish_policy
from grpokit.engine.record import JsonLines
from grpokit.engine.rundir import RunDir
from grpokit.engine.signals import StopFlag
from grpokit.errors import CheckpointError, GrpokitError, Interrupted, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import create
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.scorer import Scorer, setups
from grpokit.spec.contracts import Algorithm, Callback, Dataset, ShouldStop, StepBackend
from grpokit.spec.flow import Sampling
from grpokit.spec.recipe import Recipe

__all__ = ["Evaluator", "make_algorithm", "make_backend", "sampling_of", "train"]

Evaluator = Callable[[StepBackend, ShouldStop], dict[str, float]]
"""Evaluates the current policy during training; returns metrics, among them ``accuracy``."""


def make_algorithm(catalog: Catalog, recipe: Recipe) -> Algorithm:
    """The named algorithm of the recipe with its replaced parts."""
    section = recipe.algorithm
    base = create(catalog.find("algorithm", section.use), section.with_)
    parts = {
        axis: create(catalog.find("algorithm", part.use), part.with_)
        for axis, part in section.parts.items()
    }
    return build_algorithm(base, parts)


def make_backend(catalog: Catalog, recipe: Recipe) -> StepBackend:
    """The backend of the recipe, not yet open. Importing its module is what loads torch."""
    entry = catalog.find("backend", recipe.backend.use)
    return cast("StepBackend", create(entry, recipe.backend.with_))


def train(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    observer: Observer,
    evaluator: Evaluator | None = None,
) -> RunEnd:
    """Trains until the recipe's last step, from the newest whole checkpoint of the run if any.

    Raises:
        Interrupted: a signal came; a checkpoint of the last finished step is on the disk.
        RewardError, NonFiniteError, OutOfMemoryError: likewise, with the cause.
        CheckpointError: nothing to resume from is whole, or the disk is full.
    """
    with ExitStack() as stack:
        stack.enter_context(run)
        flag = stack.enter_context(StopFlag())
        resume = f"resume with: grpokit train --resume {shlex.quote(str(run.path))}"
        try:
            session = _open(recipe, run, catalog, observer, flag, stack)
        except Interrupted as error:
            _add_remedy(error, resume)
            raise
        session.evaluator = evaluator
        try:
            return session.run_steps()
        except GrpokitError as error:
            if not isinstance(error, CheckpointError):
                session.save_after_failure()
            _add_remedy(error, resume)
            raise


@dataclass(kw_only=True)
class _Session:
    recipe: Recipe
    run: RunDir
    loop: Loop
    store: CheckpointStore
    observer: Observer
    watchers: Watchers
    done: int = 0
    saved: int = 0
    best_step: int | None = None
    best_score: float = float("-inf")
    window: deque[float] = field(default_factory=deque)
    budget: dict[str, Any] = field(default_factory=dict)
    loop_state: dict[str, Any] = field(default_factory=dict)
    evaluator: Evaluator | None = None

    def run_steps(self) -> RunEnd:
        last = self.recipe.train.steps
        names = [setup.name for setup in self.loop.scorer.setups]
        self.observer.start(self.run.path, self.done + 1, last, names)
        self.watchers.call("on_start", self.run.path, self.recipe)
        self._evaluate_if_due()
        for index in range(self.done + 1, last + 1):
            self.loop.poll()
            self._record(self.loop.step(index))
            self._evaluate_if_due()
            if index % self.recipe.train.save_every == 0 or index == last:
                self.save_if_new()
        final = None
        if self.done >= last:
            final = publish_policy(self.loop.backend, self.run.final, step=self.done)
        end = RunEnd(
            run=self.run.path, steps=self.done, planned=last, final=final, best_step=self.best_step
        )
        self.watchers.call("on_end", self.run.path)
        self.observer.end(end)
        return end

    def _record(self, result: StepResult) -> None:
        record, batch = result.record, result.batch
        rollout, scores = batch.whole.rollout, batch.whole.scores
        self.run.metrics.append(
            [{"step": record.step, **record.metrics, "seconds": dict(record.seconds)}]
        )
        if self.recipe.train.save_rollouts:
            self.run.rollouts.append(
                rollout_rows(
                    record.step, rollout, scores, batch.kept, batch.advantages, result.selection
                )
            )
        self.done = record.step
        self.budget = self.loop.budget.state()
        self.loop_state = self.loop.state()
        if "reward" in record.metrics:
            self.window.append(record.metrics["reward"])
        self.observer.step(record, rollout, scores)
        self.watchers.call("on_step", record, rollout.completions[0])

    def _evaluate_if_due(self) -> None:
        every = self.recipe.eval.every
        if self.evaluator is None or not every or not self.done or self.done % every:
            return
        evaluations = JsonLines(self.run.path / "evals.jsonl")
        if any(row["step"] == self.done for row in evaluations.read()):
            return
        self.observer.stage(self.done, "evaluate")
        metrics = self.evaluator(self.loop.backend, self.loop.poll)
        evaluations.append([{"step": self.done, **metrics}])
        self.observer.evaluated(self.done, metrics)

    def save_if_new(self) -> None:
        """Saves the last finished step, unless that is on the disk already."""
        if self.done == self.saved:
            return
        self.observer.stage(self.done, "save")
        score = self._score()
        if score is not None and score >= self.best_score:
            self.best_step, self.best_score = self.done, score
        folder = self.store.save(self.done, self._write, self._state())
        self.saved = self.done
        self.store.prune(self.best_step)
        self.observer.saved(self.done, folder)

    def save_after_failure(self) -> None:
        """The same for a run that ends with an error, which a failing save must not hide."""
        try:
            self.save_if_new()
        except GrpokitError as error:
            self.observer.say(f"step {self.done} could not be saved: {error}", warning=True)

    def _score(self) -> float | None:
        """What "best" means: held-out accuracy where it is measured, else the mean reward.

        The mean is that of the last ``save_every`` steps, also after an interrupt and a resume.
        """
        if self.evaluator is not None and self.recipe.eval.every:
            rows = JsonLines(self.run.path / "evals.jsonl").read()
            known = [float(row["accuracy"]) for row in rows if row["step"] == self.done]
            return known[-1] if known else None
        return statistics.fmean(self.window) if self.window else None

    def _write(self, folder: Path) -> None:
        (folder / "policy").mkdir()
        (folder / "state").mkdir()
        self.loop.backend.save_policy(folder / "policy")
        self.loop.backend.save_state(folder / "state")

    def _state(self) -> dict[str, Any]:
        best = self.best_score if self.best_step is not None else None
        return {
            "step": self.done,
            "metrics_bytes": self.run.metrics.size,
            "rollouts_bytes": self.run.rollouts.size,
            "best_step": self.best_step,
            "best_score": best,
            "budget": self.budget,
            "loop": self.loop_state,
        }

    def restore(self) -> None:
        """Continues from the newest whole checkpoint; from the start if none was ever saved."""
        checkpoint = self.store.newest(lambda text: self.observer.say(text, warning=True))
        state: Mapping[str, Any] = checkpoint.run if checkpoint else {}
        if checkpoint:
            self.loop.backend.load_state(checkpoint.folder)
            self.done = self.saved = checkpoint.step
            if (
                state["best_step"] in self.store.steps()
            ):  # else it was damaged, or made room for one
                self.best_step, self.best_score = state["best_step"], state["best_score"]
            self.loop.budget.load_state(state["budget"])
            self.loop.load_state(state["loop"])
        elif self.run.metrics.size:
            self.observer.say("no checkpoint was saved yet; starting again from step 1")
        self.run.metrics.cut(state.get("metrics_bytes", 0))
        self.run.rollouts.cut(state.get("rollouts_bytes", 0))
        JsonLines(self.run.path / "evals.jsonl").keep(lambda row: row["step"] <= self.done)
        self.budget = self.loop.budget.state()
        self.loop_state = self.loop.state()
        rewards = (row["reward"] for row in self.run.metrics.read() if "reward" in row)
        self.window = deque(rewards, maxlen=self.recipe.train.save_every)


def _open(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    observer: Observer,
    flag: StopFlag,
    stack: ExitStack,
) -> _Session:
    observer.stage(0, "load")
    dataset = open_dataset(catalog, recipe.dataset)
    scorer = stack.enter_context(
        Scorer(
            setups(catalog, recipe.rewards),
            timeout=recipe.scoring.timeout,
            isolate=recipe.scoring.isolate,
        )
    )
    algorithm = make_algorithm(catalog, recipe)
    backend = make_backend(catalog, recipe)
    stack.callback(backend.close)
    backend.open(
        recipe,
        needs_reference=algorithm.needs_reference,
        needs_entropy=algorithm.needs_entropy,
    )
    flag.poll()
    loop = Loop(
        backend=backend,
        algorithm=algorithm,
        dataset=dataset,
        order=_order(recipe, dataset, backend),
        scorer=scorer,
        budget=ErrorBudget(recipe.scoring.max_error_rate),
        prompt=recipe.prompt,
        sampling=sampling_of(recipe),
        observer=observer,
        poll=flag.poll,
        prompts=recipe.rollout.prompts,
        forwards=_forwards(recipe, algorithm),
    )
    session = _Session(
        recipe=recipe,
        run=run,
        loop=loop,
        store=CheckpointStore(run.checkpoints, keep=recipe.train.keep),
        observer=observer,
        watchers=Watchers(_callbacks(catalog, recipe), observer),
    )
    session.restore()
    return session


def _callbacks(catalog: Catalog, recipe: Recipe) -> dict[str, Callback]:
    """By name; a second one of the same name, with other settings, by its place as well."""
    found: dict[str, Callback] = {}
    for place, use in enumerate(recipe.callbacks):
        name = f"{use.use} (callbacks.{place})" if use.use in found else use.use
        found[name] = create(catalog.find("callback", use.use), use.with_)
    return found


def sampling_of(recipe: Recipe) -> Sampling:
    """How training draws completions."""
    rollout = recipe.rollout
    return Sampling(
        group=rollout.group,
        max_tokens=rollout.max_tokens,
        temperature=rollout.temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
        min_p=rollout.min_p,
        seed=recipe.train.seed,
    )


def _order(recipe: Recipe, dataset: Dataset, backend: StepBackend) -> RowOrder:
    rollout = recipe.rollout
    limit = rollout.max_prompt_tokens

    def keep(index: int) -> bool:
        length = len(backend.encode(make_prompt(recipe.prompt, dataset[index], index).messages))
        if limit is None or length <= limit:
            return True
        if rollout.on_long_prompt == "drop":
            return False
        raise PreflightError(
            f"the prompt of row {index} has {length} tokens, rollout.max_prompt_tokens is {limit}",
            place="data set",
            remedy="raise the limit, or set rollout.on_long_prompt: drop",
        )

    return RowOrder(
        dataset,
        seed=recipe.train.seed,
        shuffle=rollout.shuffle,
        keep=keep if limit is not None else None,
    )


def _forwards(recipe: Recipe, algorithm: Algorithm) -> int:
    """Forward passes of one completion in an update: policy, old policy, reference policy."""
    optim = recipe.optim
    old = optim.iterations * optim.minibatches > 1
    return optim.iterations + old + algorithm.needs_reference


def _add_remedy(error: GrpokitError, remedy: str) -> None:
    error.remedy = f"{error.remedy}; {remedy}" if error.remedy else remedy

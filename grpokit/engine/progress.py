"""What a run has done so far: its records, evaluations and checkpoints; and what comes next.

The one place that knows which step is next. Our own loop and a runtime with a loop of its own both
take their steps from here (:class:`grpokit.spec.contracts.Feed`).
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from grpokit.engine.checkpoint import Checkpoint, CheckpointStore, check_writable
from grpokit.engine.failures import FailureLog
from grpokit.engine.loop import Loop, Pending, StepResult
from grpokit.engine.metrics import rollout_rows, unfinished_rows
from grpokit.engine.observer import Observer, RunEnd, Watchers
from grpokit.engine.publish import publish_policy
from grpokit.engine.ranks import Ranks, Spread
from grpokit.engine.record import JsonLines
from grpokit.engine.rundir import RunDir
from grpokit.errors import CheckpointError, GrpokitError
from grpokit.scoring.scorer import Share
from grpokit.spec.contracts import Model, ShouldStop, Task, owns_loop
from grpokit.spec.flow import Update
from grpokit.spec.recipe import Recipe

__all__ = ["Evaluator", "Progress"]

Evaluator = Callable[[Model, ShouldStop, Share], dict[str, float]]
"""Evaluates the current policy during training; returns metrics, among them ``accuracy``.

The second argument is called within the model's ``generate`` and the shared scoring alone, where an
interrupt of one rank is told to all.
"""


@dataclass(kw_only=True)
class Progress:
    """A run between two steps. Every rank has one; only the first one writes."""

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
    pending: Pending | None = None
    unrecorded: bool = False
    """The policy is that of a step that is not among those done yet."""

    @cached_property
    def failures(self) -> FailureLog:
        path = self.run.path / "failures.jsonl"
        return FailureLog(path, lambda text: self.observer.say(text, warning=True))

    @property
    def ranks(self) -> Ranks:
        return self.loop.ranks

    def run_steps(self) -> RunEnd:
        """All steps that are left, and the trained policy."""
        last = self.recipe.train.steps
        names = [setup.name for setup in self.loop.scorer.setups]
        self.observer.start(self.run.path, self.done + 1, last, names)
        self.watchers.call("on_start", self.run.path, self.recipe)
        self._evaluate_if_due()
        backend = self.loop.backend
        if owns_loop(backend):
            backend.run(self)
            self._check_end()
        else:
            while (task := self.begin()) is not None:
                self.end(self.loop.train(task))
        final = self._publish() if self.done >= last else None
        end = RunEnd(
            run=self.run.path, steps=self.done, planned=last, final=final, best_step=self.best_step
        )
        self.watchers.call("on_end", self.run.path)
        self.observer.end(end)
        return end

    def _check_end(self) -> None:
        if self.done < self.recipe.train.steps:
            raise GrpokitError(
                f"the backend ended its loop after step {self.done} of {self.recipe.train.steps}",
                place=f"backend {self.recipe.backend.use}",
                remedy="settings of its own may end it early; see backend.with",
            )

    def begin(self) -> Task | None:
        """The next step, up to its update; None after the last one."""
        if self.done >= self.recipe.train.steps:
            return None
        self.ranks.every(self._go_on)
        self.pending = self.loop.begin(self.done + 1)
        return self.pending.task

    def _go_on(self) -> None:
        """Raises where a signal has come, or where who watches the run wants it to end."""
        self.loop.poll()
        self.observer.go_on()

    def end(self, update: Update) -> None:
        """The step is trained."""
        assert self.pending is not None
        pending, self.pending = self.pending, None
        self.unrecorded = True
        self._record(self.loop.finish(pending, self.ranks.measured(update)))
        self.unrecorded = False
        self._evaluate_if_due()
        if self.done % self.recipe.train.save_every == 0 or self.done == self.recipe.train.steps:
            self.save_if_new()

    def _record(self, result: StepResult) -> None:
        record, batch = result.record, result.batch
        rollout, scores = batch.whole.rollout, batch.whole.scores
        self.ranks.only_first(lambda: self._write_record(result))
        self.done = record.step
        self.budget = self.loop.budget.state()
        self.loop_state = self.loop.state()
        if "reward" in record.metrics:
            self.window.append(record.metrics["reward"])
        weights = batch.advantages.advantages_PG.tolist()
        self.observer.weighed(record.step, dict(zip(batch.kept, weights, strict=True)))
        self.observer.step(record, rollout, scores)
        if self.ranks.first:
            self.failures.add(record.step, scores)
        self.watchers.call("on_step", record, rollout.completions[0])

    def _write_record(self, result: StepResult) -> None:
        record, batch = result.record, result.batch
        self.run.metrics.append(
            [{"step": record.step, **record.metrics, "seconds": dict(record.seconds)}]
        )
        if self.recipe.train.save_rollouts:
            rollout, scores = batch.whole.rollout, batch.whole.scores
            self.run.rollouts.append(
                rollout_rows(
                    record.step, rollout, scores, batch.kept, batch.advantages, result.selection
                )
            )

    def _evaluate_if_due(self) -> None:
        every = self.recipe.eval.every
        if self.evaluator is None or not every or not self.done or self.done % every:
            return
        evaluations = JsonLines(self.run.path / "evals.jsonl")
        if self.ranks.every(lambda: [row["step"] for row in evaluations.read()][-1:])[0] == [
            self.done
        ]:
            return
        self._settle(self.loop.poll)  # its sampler is wanted, with the new weights
        self.observer.stage(self.done, "evaluate")
        policy = Spread(self.loop.backend, self.ranks)
        metrics = self.evaluator(policy, self.loop.poll, self.ranks.score)
        self.ranks.only_first(lambda: evaluations.append([{"step": self.done, **metrics}]))
        self.observer.evaluated(self.done, metrics)
        self.watchers.call("on_evaluation", self.done, metrics)

    def save_if_new(self) -> None:
        """Saves the last finished step, unless that is on the disk already."""
        if self.done == self.saved:
            return
        self._settle()  # it belongs to the checkpoint
        self.observer.stage(self.done, "save")
        score = self._score()
        if score is not None and score >= self.best_score:
            self.best_step, self.best_score = self.done, score
        self.ranks.only_first(self.store.prepare)
        self.ranks.every(lambda: self._save() if self.ranks.first else self._write(self.nowhere))
        self.saved = self.done

    def _settle(self, should_stop: ShouldStop | None = None) -> None:
        """Waits for what is being drawn for the next step."""
        if self.loop.ahead.busy:
            self.observer.stage(self.done, "wait")
        self.loop.ahead.settle(should_stop)

    def _save(self) -> None:
        folder = self.store.save(self.done, self._write, self._state())
        self.store.prune(self.best_step)
        self.observer.saved(self.done, folder)

    def _publish(self) -> Path:
        """Every rank takes part in saving; the first one writes."""
        backend, folder = self.loop.backend, self.run.final
        self.ranks.only_first(lambda: check_writable(self.run.path))
        self.ranks.every(
            lambda: (
                str(publish_policy(backend, folder, step=self.done))
                if self.ranks.first
                else backend.save_policy(self.nowhere)
            )
        )
        return folder

    @property
    def nowhere(self) -> Path:
        """What ranks that do not write are told to write to."""
        return self.run.path / f".tmp-rank-{self.ranks.index}"

    def save_after_failure(self) -> None:
        """The same for a run that ends with an error, which a failing save must not hide."""
        if self.unrecorded:
            text = f"step {self.done + 1} was trained but could not be recorded; nothing was saved"
            self.observer.say(text, warning=True)
            return
        if self.loop.ahead.busy:
            text = f"waiting for the completions of step {self.done + 1}, which are saved too"
            self.observer.say(text)
        try:
            self.save_if_new()
        except GrpokitError as error:
            self.observer.say(f"step {self.done} could not be saved: {error}", warning=True)

    def keep_unfinished(self) -> None:
        """Writes what the failed step had generated and scored, to be looked at.

        It is no part of the run: after a resume the step is done anew, with the same completions.
        """
        left = self.loop.unfinished
        if left is None or not left.rounds or not self.ranks.first:
            return
        for _, scores in left.rounds:
            self.failures.add(left.step, scores)
        if not self.recipe.train.save_rollouts:
            return
        file = self.run.path / "unfinished.jsonl"
        try:
            rows = [unfinished_rows(left.step, *each) for each in left.rounds]
            JsonLines(file).replace(chain.from_iterable(rows))
        except (CheckpointError, OSError) as error:
            self.observer.say(f"step {left.step} could not be kept: {error}", warning=True)
            return
        count = sum(len(group) for rollout, _ in left.rounds for group in rollout.completions)
        self.observer.say(f"the {count} completions of step {left.step} and their scores: {file}")

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
        if self.ranks.first:
            (folder / "policy").mkdir()
            (folder / "state").mkdir()
            self.loop.ahead.write(folder)
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
        checkpoint = self._newest()
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
            if not self.loop.load_ahead(checkpoint.folder):
                text = f"the completions of step {self.done + 1} do not fit the changed recipe; they are drawn anew"
                self.observer.say(text, warning=True)
        elif self.run.metrics.size:
            self.observer.say("no checkpoint was saved yet; starting again from step 1")
        self.ranks.only_first(lambda: self._cut_records(state))
        self.budget = self.loop.budget.state()
        self.loop_state = self.loop.state()
        rewards = (row["reward"] for row in self.run.metrics.read() if "reward" in row)
        self.window = deque(rewards, maxlen=self.recipe.train.save_every)

    def _newest(self) -> Checkpoint | None:
        """Found and verified by the first rank, which may move damaged ones aside."""

        def find() -> int | None:
            found = self.store.newest(lambda text: self.observer.say(text, warning=True))
            return found.step if found else None

        step = self.ranks.every(lambda: find() if self.ranks.first else None)[0]
        return None if step is None else self.store.at(step)

    def _cut_records(self, state: Mapping[str, Any]) -> None:
        """Drops what was recorded after the checkpoint."""
        self.run.metrics.cut(state.get("metrics_bytes", 0))
        self.run.rollouts.cut(state.get("rollouts_bytes", 0))
        JsonLines(self.run.path / "evals.jsonl").keep(lambda row: row["step"] <= self.done)

"""The update: rows of a rollout batch become optimiser steps.

The loss is a sum over fixed denominators (``LossTotals``), so that micro-batches only add up: any
cut gives the same gradient, but for parts of an algorithm that choose or average within one. Log-probs of the old policy are computed for the kept rows, and only if
more than one optimiser step uses the batch; with one step they are the current ones, detached.

Several processes each take their part of the rows of an optimiser step (:mod:`grpokit_hf.parallel`).
One whose part has fewer micro-batches fills up with empty ones, where the others need its company.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from grpokit.api import (
    LossOutputs,
    LossTotals,
    NonFiniteError,
    OutOfMemoryError,
    Recipe,
    Resets,
    Update,
    derive_seed,
)
from grpokit_hf.inputs import loss_inputs
from grpokit_hf.job import Job, Share, Tally, free_memory
from grpokit_hf.nn.batch import Batch, Row, filler, micro_batches, minibatches, to_batch
from grpokit_hf.nn.forward import Forward, TokenValues
from grpokit_hf.optim import apply, learning_rate, make_optimizer
from grpokit_hf.policy import Policy
from grpokit_hf.reset import check_fit, copy_of, first_weights, put, swapped

__all__ = ["Job", "Trainer"]

MAX_SKIPPED = 3
"""Optimiser steps in a row that may be skipped because their gradient is not finite."""
MAX_HALVINGS = 3


class Trainer:
    """Optimiser and counters of a policy.

    Attributes:
        reference_model: a frozen copy where all weights train; an adapter needs none.
        reference_weights: the adapter that is the reference since its last reset; before it, None.
        reference_moved: the reference is no longer the model that was loaded.
        bad_streak: optimiser steps skipped in a row.
        limit_rows: micro-batch size after memory ran out; None as long as it did not.
        torn: an update failed after its first optimiser step, or a reset of the policy was not followed
            by one, so the weights are between two steps.
    """

    def __init__(self, policy: Policy, recipe: Recipe, reference: Any = None) -> None:
        self.policy = policy
        self.team = policy.team
        with self.team.collective("the model"):
            self.team.adopt(policy, reference)
        self.filler = filler(policy.tokenizer.pad_id)
        self.recipe = recipe
        self.reference_model = reference
        self.optimizer = make_optimizer(policy.weights, recipe)
        self.bad_streak = 0
        self.limit_rows: int | None = recipe.optim.micro_batch
        self.needs_reference = False
        self.reference_weights: dict[str, Tensor] | None = None
        self.reference_moved = False
        self.torn = False
        if self.team.sharded:  # the first forward is what settles which weights belong together
            self.empty_forwards()

    def empty_forwards(self) -> None:
        batch = self.batch((self.filler,))
        for model in filter(None, (self.policy.base, self.reference_model)):
            with torch.no_grad(), self.team.together():
                self.policy.forward(model)(batch, 1.0)

    def batch(self, rows: Sequence[Row], job: Job | None = None) -> Batch:
        """The rows on their device, unless the run is to stop."""
        if job is not None:
            job.poll()
        pad = self.policy.tokenizer.pad_id
        return to_batch(rows, pad, self.policy.device, least=self.team.columns)

    def reset(self, resets: Resets) -> None:
        """Begins anew what is named; a reset reference is the policy before its own reset."""
        if resets.reference:
            self.set_reference(self.team.jointly(copy_of, self.policy.weights))
        if resets.policy:
            self.torn = True
            first_weights(self.policy, self.recipe)
        if resets.optimizer:
            self.optimizer = make_optimizer(self.policy.weights, self.recipe)
            self.bad_streak = 0

    def set_reference(self, weights: dict[str, Tensor]) -> None:
        """Makes ``weights`` (those that train, by name) the reference policy."""
        if self.reference_model is None:
            check_fit(self.policy.weights, weights)
            self.reference_weights = weights
        else:
            put(dict(self.reference_model.named_parameters()), weights)
        self.reference_moved = True

    def reference_like(self) -> dict[str, Tensor]:
        """Weights with the names and the layout of the reference's."""
        if self.reference_model is None:
            return self.policy.weights
        return dict(self.reference_model.named_parameters())

    def moved_reference(self) -> dict[str, Tensor]:
        """The reference to be saved; empty as long as it is the model that was loaded."""
        if not self.reference_moved:
            return {}
        if self.reference_weights is not None:
            return self.reference_weights
        return dict(self.reference_model.named_parameters())

    def update(self, job: Job) -> Update:
        """All optimiser steps of one rollout batch. Before the first one nothing is changed."""
        streak = self.bad_streak
        try:
            update = self.all_steps(job)
        except BaseException:
            self.bad_streak = streak  # the step is taken again, and counts then
            raise
        self.torn = False
        return update

    def all_steps(self, job: Job) -> Update:
        tally = Tally()
        live = self.live(job.rows)
        optim = self.recipe.optim
        if not live:
            return Update(metrics={}, optimizer_steps=0, seconds={})
        old: dict[int, Tensor] = {}
        reference: dict[int, Tensor] = {}
        if optim.iterations * optim.minibatches > 1:
            with tally.time("old"):
                old = self.all_logprobs(live, job, self.policy.forward())
        if self.needs_reference:
            with tally.time("reference"):
                reference = self.reference_logprobs(live, job)
        for iteration in range(optim.iterations):
            seed = (self.recipe.train.seed, job.step, iteration)
            parts = minibatches(job.rows, optim.minibatches, *seed)
            for place, part in enumerate(parts):
                inner = iteration * optim.minibatches + place
                self.optimizer_step(part, job, old, reference, inner, tally)
        self.check_streak(job.step)
        return Update(
            metrics=tally.metrics(), optimizer_steps=tally.steps, seconds=dict(tally.seconds)
        )

    def live(self, rows: Sequence[Row]) -> list[Row]:
        """Rows that are forwarded: those that can move a weight, unless all are asked for."""
        every = not self.policy.config.skip
        return [row for row in rows if row.tokens and (every or row.weight != 0)]

    def all_logprobs(self, rows: Sequence[Row], job: Job, forward: Forward) -> dict[int, Tensor]:
        """Row index -> log-probs of its tokens, without gradients; of the rows of all processes."""
        self.policy.model.eval()
        shares = self.team.shares(rows, shared=forward.shared)
        while True:
            parts = self.cut(shares[self.team.index], forward)
            failure: BaseException | None = None
            found: dict[int, Tensor] = {}
            try:
                found = self.logprobs_of(parts, job, forward)
            except BaseException as error:  # noqa: BLE001  raised by agree, on all processes
                failure = error
            if not self.team.agree(failure):
                return self.team.tables(found, shares, self.policy.device)
            self.halve(parts, job, failure)
            free_memory(self.policy.device)

    def logprobs_of(
        self, parts: Sequence[Sequence[Row]], job: Job, forward: Forward
    ) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for place in range(self.team.rounds(len(parts))):
            part = parts[place] if place < len(parts) else (self.filler,)
            batch = self.team.lone(self.batch, part, job)
            with torch.no_grad(), self.team.together():
                values = forward(batch, job.temperature).logprobs_M
            pieces = torch.split(values, [len(row.tokens) for row in part])
            found.update(zip((row.index for row in part), pieces, strict=True))
        return found

    def halve(
        self,
        parts: Sequence[Sequence[Row]],
        job: Job,
        error: BaseException | None,
        *,
        last: bool = False,
    ) -> None:
        """Smaller micro-batches from now on; an error if that was tried, or they hold one row."""
        largest = self.team.most(max((len(part) for part in parts), default=0))
        if last or largest == 1:
            raise OutOfMemoryError(
                f"an update with {largest} rows a forward does not fit in memory",
                place=f"step {job.step}",
                remedy="set model.gradient_checkpointing: true, or lower "
                "rollout.max_tokens or backend.with.logit_rows",
            ) from error
        self.limit_rows = (largest + 1) // 2

    def reference_logprobs(self, rows: Sequence[Row], job: Job) -> dict[int, Tensor]:
        """Log-probs under the reference: the adapter switched off or another, or a frozen copy."""
        if self.reference_model is not None:
            return self.all_logprobs(rows, job, self.policy.forward(self.reference_model))
        if self.reference_weights is not None:
            with swapped(self.policy.weights, self.reference_weights):
                return self.all_logprobs(rows, job, self.policy.forward())
        with self.policy.model.disable_adapter():
            return self.all_logprobs(rows, job, self.policy.forward())

    def cut(self, rows: Sequence[Row], forward: Forward) -> list[list[Row]]:
        return micro_batches(
            rows,
            limit_rows=self.limit_rows,
            limit_tokens=self.recipe.optim.micro_tokens,
            shared=forward.shared,
        )

    def optimizer_step(
        self,
        part: Sequence[Row],
        job: Job,
        old: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        inner: int,
        tally: Tally,
    ) -> None:
        """Gradient of one minibatch, clipped and applied; a non-finite one is dropped and counted."""
        live = self.live(part)
        if not live:
            return
        totals = LossTotals(
            rows=max(1, round(job.denominator * len(part) / len(job.rows))),
            tokens=sum(len(row.tokens) for row in part),
            max_tokens=job.max_tokens,
        )
        with tally.time("forward_backward"):
            share = self.accumulate(live, job, totals, old, reference, inner, poll=not tally.steps)
        if not any(row.weight for row in live):  # nothing is learnt; Adam would move all the same
            self.optimizer.zero_grad(set_to_none=True)
            return
        with tally.time("optimizer"):
            optim = self.recipe.optim
            norm = self.team.clip(list(self.policy.weights.values()), optim.max_grad_norm)
            index = (job.step - 1) * optim.iterations * optim.minibatches + inner
            tally.lr = learning_rate(self.recipe, index)
            if math.isfinite(norm) and math.isfinite(share.loss):
                for group in self.optimizer.param_groups:
                    group["lr"] = tally.lr
                self.torn = True
                apply(self.optimizer, self.team, f"step {job.step}")
                tally.steps += 1
                tally.norms.append(norm)
                tally.losses.append(share.loss)
                self.bad_streak = 0
            else:
                tally.skipped += 1
                self.bad_streak += 1
            self.optimizer.zero_grad(set_to_none=True)
        for name, (over, under) in share.sums.items():
            if math.isfinite(over):
                tally.sums[name][0] += over
                tally.sums[name][1] += under

    def accumulate(
        self,
        rows: Sequence[Row],
        job: Job,
        totals: LossTotals,
        old: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        inner: int,
        *,
        poll: bool,
    ) -> Share:
        """Forward and backward of every micro-batch; starts again with halves when memory runs out."""
        forward = self.policy.forward()
        mine = self.team.shares(rows, shared=forward.shared)[self.team.index]
        halvings = 0
        while True:
            parts = self.cut(mine, forward)
            self.optimizer.zero_grad(set_to_none=True)
            failure: BaseException | None = None
            share = Share(0.0, {})
            try:
                share = self.pass_over(
                    parts, job, totals, old, reference, inner, forward, poll=poll
                )
            except BaseException as error:  # noqa: BLE001  raised by agree, on all processes
                failure = error
                if not isinstance(error, torch.OutOfMemoryError):
                    self.optimizer.zero_grad(set_to_none=True)
            if not self.team.agree(failure):
                self.team.sync(list(self.policy.weights.values()))
                return self.team.summed(share)
            halvings += 1
            self.halve(parts, job, failure, last=halvings > MAX_HALVINGS)
            free_memory(self.policy.device)

    def pass_over(
        self,
        parts: Sequence[Sequence[Row]],
        job: Job,
        totals: LossTotals,
        old: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        inner: int,
        forward: Forward,
        *,
        poll: bool,
    ) -> Share:
        total = 0.0
        sums: dict[str, tuple[float, float]] = {}
        self.policy.model.train(self.policy.checkpointing or self.policy.dropout > 0)
        for place in range(self.team.rounds(len(parts))):
            part = parts[place] if place < len(parts) else (self.filler,)
            batch = self.team.lone(self.batch, part, job if poll else None)
            with self.dropout_seed(job.step, inner, place), self.team.together():
                values = forward(batch, job.temperature, with_entropy=True)
            seed = derive_seed(
                self.recipe.train.seed, "loss", job.step, inner, place, *self.team.mark
            )
            outputs = self.team.lone(
                self.loss_of, values, batch, job, totals, old, reference, seed=seed
            )
            with self.team.together():
                self.backward(outputs.loss, values)
            total += float(outputs.loss.detach())
            for name, (over, under) in outputs.sums.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + float(over), before[1] + float(under))
        self.policy.model.eval()
        return Share(total, sums)

    def loss_of(
        self,
        values: TokenValues,
        batch: Batch,
        job: Job,
        totals: LossTotals,
        old: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        *,
        seed: int,
    ) -> LossOutputs:
        """The algorithm's loss of a micro-batch; nothing of one that only fills up."""
        if batch.rows[0].index < 0:
            return LossOutputs(loss=torch.zeros(()))
        inputs = loss_inputs(
            batch, values.logprobs_M, values.entropy_M, old, reference, totals, seed=seed
        )
        return job.loss(inputs)

    def backward(self, loss: Tensor, values: TokenValues) -> None:
        """Adds to the gradients, which are then averaged over the processes: hence the factor.

        A loss without a gradient needs no backward, except in company.
        """
        if self.team.sharded and not loss.requires_grad:
            loss = values.logprobs_M.sum() * 0.0
        if loss.requires_grad:
            scaled = loss if self.team.count == 1 else loss * self.team.count
            scaled.backward()  # type: ignore[no-untyped-call]

    @contextmanager
    def dropout_seed(self, *parts: int) -> Iterator[None]:
        """Adapter dropout draws from (seed, step, optimiser step, micro-batch)."""
        if self.policy.dropout == 0:
            yield
            return
        cuda = self.policy.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.policy.device] if cuda else []):
            torch.manual_seed(
                derive_seed(self.recipe.train.seed, "dropout", *parts, *self.team.mark)
            )
            yield

    def check_streak(self, step: int) -> None:
        if self.bad_streak > MAX_SKIPPED:
            raise NonFiniteError(
                f"{self.bad_streak} optimiser steps in a row had a gradient that is not finite",
                place=f"step {step}",
                remedy="lower optim.lr, or set model.dtype: float32",
            )

"""One rollout batch becomes optimiser steps, shared out among the processes.

The loss is a sum over the denominators of the whole step (``LossTotals``), so that neither the cut
into micro-batches nor the number of processes changes it. Log-probs of the old policy are computed
for the kept rows alone, and only if more than one optimiser step uses the batch; those of the
reference likewise for the kept rows alone. A pruned row is never put through the model.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grpokit.api import LossTotals, OutOfMemoryError, Recipe, Task, Update, derive_seed
from grpokit_hf.inputs import loss_inputs
from grpokit_hf.nn.batch import Row, make_rows, micro_batches, minibatches, to_batch
from grpokit_hf.optim import learning_rate
from grpokit_trl.agree import gathered
from grpokit_trl.rows import mine, stand_in

__all__ = ["Part", "Share", "Tally", "Work"]


@dataclass
class Tally:
    """Metric sums and times of one rollout batch."""

    sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    skipped: int = 0
    lr: float = 0.0

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start

    def add(self, sums: Mapping[str, tuple[float, float]]) -> None:
        for name, (over, under) in sums.items():
            if math.isfinite(over):
                self.sums[name][0] += over
                self.sums[name][1] += under

    def update(self) -> Update:
        """What the optimiser did, for the records."""
        means = {name: over / under for name, (over, under) in self.sums.items() if under}
        if self.norms or self.skipped:
            means |= {"lr": self.lr, "skipped_steps": float(self.skipped)}
        if self.norms:
            means["grad_norm"] = sum(self.norms) / len(self.norms)
            means["loss"] = sum(self.losses) / len(self.losses)
        return Update(metrics=means, optimizer_steps=self.steps, seconds=dict(self.seconds))


@dataclass(frozen=True)
class Part:
    """Rows of one optimiser step, and which one of its rollout batch it is."""

    inner: int
    rows: Sequence[Row]


@dataclass(frozen=True)
class Share:
    """What the micro-batches of an optimiser step gave: the loss, and sums for metrics."""

    loss: float
    sums: Mapping[str, tuple[float, float]]


class Work:
    """The rollout batch of one task.

    Attributes:
        live: the rows that need a forward, of all processes.
        parts: the optimiser steps to come.
    """

    def __init__(self, task: Task, recipe: Recipe, trainer: Any) -> None:
        self.task = task
        self.recipe = recipe
        self.trainer = trainer
        self.tally = Tally()
        self.temperature = task.rollout.sampling.temperature
        self.rows = make_rows(task.rollout, task.advantages, task.selection)
        self.live = [row for row in self.rows if row.weight != 0 and row.tokens]
        accelerator = trainer.accelerator
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.own = mine(self.live, self.rank, self.world)
        self.parts = self.cut_steps()
        self.old: dict[int, Tensor] = {}
        self.reference: dict[int, Tensor] = {}

    def cut_steps(self) -> list[Part]:
        """The optimiser steps; one whose rows all have weight 0 is none."""
        optim = self.recipe.optim
        found = []
        for iteration in range(optim.iterations if self.live else 0):
            seed = (self.recipe.train.seed, self.task.step, iteration)
            for place, rows in enumerate(minibatches(self.rows, optim.minibatches, *seed)):
                if any(row.weight != 0 and row.tokens for row in rows):
                    found.append(Part(iteration * optim.minibatches + place, rows))
        return found

    def prepare(self, reference: Callable[[], Any] | None) -> None:
        """Log-probs that stay fixed over all optimiser steps of the batch.

        ``reference`` makes a context in which the trainer's model, or the model that it yields, is
        the reference policy.
        """
        optim = self.recipe.optim
        if not self.live:
            return
        if optim.iterations * optim.minibatches > 1:
            with self.tally.time("old"):
                self.old = self.fixed(None)
        if reference is not None:
            with self.tally.time("reference"), reference() as model:
                self.reference = self.fixed(model)

    def fixed(self, model: Any) -> dict[int, Tensor]:
        """Row index -> log-probs of its tokens, without gradients, of this process's rows."""
        rows = [row for row in self.live if row.index in self.own]
        found: dict[int, Tensor] = {}
        self.trainer.model.eval()
        with torch.no_grad():
            for part in self.micro(rows):
                self.poll()
                values, _ = self.forward(model, part or [stand_in(self.live)], grad=False)
                pieces = torch.split(values, [len(row.tokens) for row in part]) if part else []
                found.update(zip((row.index for row in part), pieces, strict=True))
        return found

    def micro(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Micro-batches of the rows. Where every forward is common work, all processes have as many;
        the missing ones are empty.
        """
        optim = self.recipe.optim
        parts = micro_batches(
            rows, limit_rows=optim.micro_batch, limit_tokens=optim.micro_tokens, shared=False
        )
        missing = self.trainer.most_of(len(parts)) - len(parts) if self.trainer.sharded() else 0
        return [*parts, *([] for _ in range(missing))]

    def poll(self) -> None:
        """An interrupt is taken before the first optimiser step, never between two."""
        if self.task.should_stop is not None and not self.tally.steps:
            self.task.should_stop()

    def forward(
        self, model: Any, rows: Sequence[Row], *, grad: bool
    ) -> tuple[Tensor, Tensor | None]:
        try:
            found: tuple[Tensor, Tensor | None] = self.trainer.row_logps(
                model, rows, self.temperature, with_entropy=grad
            )
        except torch.OutOfMemoryError as error:
            raise self.too_large(len(rows)) from error
        return found

    def too_large(self, rows: int) -> OutOfMemoryError:
        return OutOfMemoryError(
            f"a forward of {rows} rows does not fit in memory",
            place=f"step {self.task.step}",
            remedy=f"set optim.micro_batch: {max(1, rows // 2)}, "
            "model.gradient_checkpointing: true, or backend.with.args.use_liger_kernel: true",
        )

    # ------------------------------------------------------------- one optimiser step

    def rate(self, part: Part) -> float:
        optim = self.recipe.optim
        index = (self.task.step - 1) * optim.iterations * optim.minibatches + part.inner
        return learning_rate(self.recipe, index)

    def accumulate(self, part: Part, model: Any) -> Share:
        """Forward and backward of every micro-batch of this process."""
        totals = LossTotals(
            rows=max(1, round(self.task.selection.denominator * len(part.rows) / len(self.rows))),
            tokens=sum(len(row.tokens) for row in part.rows),
            max_tokens=self.task.rollout.sampling.max_tokens,
        )
        own = [row for row in part.rows if row.index in self.own]
        parts = self.micro(own)
        loss = 0.0
        sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self.trainer.set_training()
        for place, rows in enumerate(parts):
            self.poll()
            with self.trainer.together(model, last=place == len(parts) - 1):
                share, found = self.backward(part, rows, model, totals, place)
            loss += share
            for name, (over, under) in found.items():
                before = sums[name]
                sums[name] = (before[0] + over, before[1] + under)
        self.trainer.model.eval()
        return Share(loss, dict(sums))

    def backward(
        self, part: Part, rows: Sequence[Row], model: Any, totals: LossTotals, place: int
    ) -> tuple[float, dict[str, tuple[float, float]]]:
        """One micro-batch. With shards processes average gradients: a share is taken ``world`` times."""
        number = place * self.world + self.rank
        model = model if self.trainer.sharded() else None  # DDP's own meetings are not ours
        with self.trainer.dropout_seed(self.task.step, part.inner, number):
            values_M, entropy_M = self.forward(model, rows or [stand_in(self.live)], grad=True)
        nothing = values_M.sum() * 0.0
        if not rows:
            self.trainer.accelerator.backward(nothing)
            return 0.0, {}
        inputs = loss_inputs(
            to_batch(rows, self.trainer.pad_id, values_M.device),
            values_M,
            entropy_M,
            self.old,
            self.reference,
            totals,
            seed=derive_seed(self.recipe.train.seed, "loss", self.task.step, part.inner, number),
        )
        outputs = self.task.loss(inputs)
        gradient = outputs.loss if outputs.loss.requires_grad else nothing
        try:
            scale = self.world if self.trainer.sharded() else 1
            self.trainer.accelerator.backward(gradient * scale)
        except torch.OutOfMemoryError as error:
            raise self.too_large(len(rows)) from error
        sums = {name: (float(over), float(under)) for name, (over, under) in outputs.sums.items()}
        return float(outputs.loss.detach()), sums

    def summed(self, share: Share) -> Share:
        """Over all processes, in their order."""
        if self.world == 1:
            return share
        whole: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        total = 0.0
        for other, table in gathered([(share.loss, dict(share.sums))]):
            total += other
            for name, (over, under) in table.items():
                before = whole[name]
                whole[name] = (before[0] + over, before[1] + under)
        return Share(total, dict(whole))

"""GRPOTrainer with a watch in its hand. Nothing of what it computes is changed, but for the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from grpokit.api import StepWatch, StepWork
from grpokit_hf.bench.weights import samples_of
from grpokit_trl.bench import check_drawn, places, trained

__all__ = ["make_class"]


class Watching(TrainerCallback):  # type: ignore[misc]  # untyped here
    """Begins and ends the steps, and takes clipping and the optimiser together."""

    def __init__(self, watch: StepWatch) -> None:
        self.watch = watch
        self.open: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.watch.begin()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.leave()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.leave()
        self.watch.end()

    def enter(self) -> None:
        """From the end of the backward pass to that of the optimiser's step."""
        if self.open is None:
            self.open = self.watch.stage("optimizer")
            self.open.__enter__()

    def leave(self) -> None:
        if self.open is not None:
            self.open.__exit__(None, None, None)
            self.open = None


def make_class(work: StepWork, watch: StepWatch) -> type[Any]:
    """GRPOTrainer for this work. It is imported here, because Unsloth may have changed it."""
    from trl import GRPOTrainer

    return type("Watched", (Seams, GRPOTrainer), {"work": work, "watch": watch})


class Seams:
    """The methods of GRPOTrainer at which time is taken or tokens are put in."""

    work: StepWork
    watch: StepWatch
    model: Any
    add_callback: Any

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.watching = Watching(self.watch)
        self.add_callback(self.watching)
        self.rows: list[tuple[int, int]] = []
        self.first = True

    @property
    def above(self) -> Any:
        """GRPOTrainer's own."""
        return super()

    def _send_telemetry(self) -> None:
        """Nothing is sent to anyone."""

    def _tokenize_prompts(self, prompts: Sequence[str]) -> Any:
        self.rows = places(prompts)
        return [list(self.work.prompts[p]) for p, _ in self.rows], None, {}

    def _generate_single_turn(self, *args: Any, **named: Any) -> Any:
        with self.watch.stage("generate"):
            drawn, *rest = self.above._generate_single_turn(*args, **named)  # noqa: SLF001  (its own)
        check_drawn(self.work, drawn)
        return [list(self.work.completions[p][g]) for p, g in self.rows], *rest

    def _calculate_rewards(self, *args: Any, **named: Any) -> Any:
        with self.watch.stage("score"):
            return self.above._calculate_rewards(*args, **named)  # noqa: SLF001

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        made = self.above._generate_and_score_completions(inputs)  # noqa: SLF001
        if not self.work.whole:
            made["advantages"] = made["advantages"] * self.kept(made["advantages"])
        return made

    def kept(self, like: torch.Tensor) -> torch.Tensor:
        """TRL selects nothing: what is not kept has advantage 0, and the mean is over the rest."""
        chosen, rows = set(self.work.keep), len(self.rows)
        share = rows / len(self.work.keep)
        weights = [share if row in chosen else 0.0 for row in self.rows]
        return torch.tensor(weights, dtype=like.dtype, device=like.device)

    def compute_loss(self, *args: Any, **named: Any) -> Any:
        with self.watch.stage("forward"):
            return self.above.compute_loss(*args, **named)

    def training_step(self, *args: Any, **named: Any) -> Any:
        loss = self.above.training_step(*args, **named)
        if self.first:
            self.first = False
            self.watch.loss(float(loss))
            found = samples_of(trained(self.model))
            self.watch.gradient(sum(each[0] ** 2 for each in found.values()) ** 0.5, found)
        self.watching.enter()
        return loss

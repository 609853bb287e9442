"""What a contestant of ``grpokit bench step`` is given, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["STAGES", "StepWatch", "StepWork"]

STAGES = ("generate", "score", "forward", "backward", "optimizer", "sync")
"""Stages of a step. What cannot be told apart is the stage ``update``; the rest is ``other``."""


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """The steps to take. Equal work for all contestants of a cell.

    A step draws exactly ``max_tokens`` tokens for each of ``group`` completions of each prompt, scores
    them, throws them away, and trains on ``completions`` in their place: GRPO's loss with the mean over
    a completion's tokens and then over completions, the clipped ratio, and no divergence; one optimiser
    step of AdamW without decay.

    Attributes:
        folder: the model's.
        dtype: of the frozen weights, ``float32`` or ``bfloat16``.
        rank: of the adapter on every linear layer; its scale is 2 * rank.
        prompts: token ids of P prompts.
        completions: token ids of P x G completions.
        rewards: rewards_PG.
        advantages: (r - mean) / (std + 1e-4) within the group, with the sample deviation.
        keep: rows (p, g) that train; the loss is a mean over these.
        steps: the first is a warm-up.
        lr: learning rate; ``max_grad_norm`` is the norm that gradients are scaled down to.
        threads: CPU threads; None: what the contestant takes by itself.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: those of the contestant's spec.
        recipe: the same as a recipe, without a backend.
    """

    folder: str
    dtype: str
    rank: int
    prompts: tuple[tuple[int, ...], ...]
    completions: tuple[tuple[tuple[int, ...], ...], ...]
    rewards: tuple[tuple[float, ...], ...]
    advantages: tuple[tuple[float, ...], ...]
    keep: tuple[tuple[int, int], ...]
    max_tokens: int
    steps: int
    lr: float
    max_grad_norm: float
    seed: int
    threads: int | None
    device: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> int:
        """Completions of a prompt."""
        return len(self.completions[0])

    @property
    def whole(self) -> bool:
        """Every completion trains."""
        return len(self.keep) == len(self.prompts) * self.group


class StepWatch(Protocol):
    """Takes the time of a contestant, and writes down what it tells."""

    def ready(self) -> None:
        """The model is loaded; what follows are steps."""

    def begin(self) -> None:
        """A step begins."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """The time inside counts for ``name``; that of a stage within it does not."""

    def move(self, source: str, target: str, seconds: float) -> None:
        """Time of one stage that belongs to another, as a contestant knows by itself."""

    def end(self) -> None:
        """The step is done."""

    def gradient(self, norm: float, samples: Mapping[str, Sequence[float]]) -> None:
        """Of the first step, before it is scaled: its norm, and a few numbers of each weight by name."""

    def loss(self, value: float) -> None:
        """Of the first step."""

    def floor(self, seconds: float) -> None:
        """What the matrix products of one forward and backward take alone."""

    def fact(self, name: str, value: Any) -> None:
        """Something to be written beside the numbers."""

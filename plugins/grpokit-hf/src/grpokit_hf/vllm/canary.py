"""Whether the engine computes with the weights that it was given.

An adapter that is ignored, or a reload that does nothing, shows in no metric: the run goes on and
learns from completions of an old policy. So a fixed sequence is scored by the engine and by the
trainer, and the two are compared over its completion tokens.

Log-probs of two engines are never equal (other kernels, other rounding), and one step may move the
weights by less than that. So nothing is decided from one small step: the trainer's values are kept
from the last time that the engine was surely right, and what has moved since then adds up until it
is larger than the noise. The sequence is renewed once the policy has moved and the engine with it: on one
that the policy would not draw any more, rounding grows with the size of the log-probs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from grpokit.api import GrpokitError

__all__ = ["Canary", "noise_floor"]

LEAST = -8.0
"""Log-probs below say nothing but that the policy would not draw the token."""
SURE = 3.0
"""A movement this many times the noise is seen for sure."""


def noise_floor(dtype: torch.dtype) -> float:
    """Mean difference in nats a token that two engines have from rounding alone."""
    return 0.002 if dtype == torch.float32 else 0.02


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Mean absolute difference of log-probs."""
    pairs = zip(a, b, strict=True)
    return sum(abs(max(x, LEAST) - max(y, LEAST)) for x, y in pairs) / max(1, len(a))


@dataclass
class Canary:
    """Compares engine and trainer on one sequence, version after version.

    Attributes:
        tolerance: a mean difference that no rounding explains.
        floor: the least noise that is assumed.
        noise: the mean difference at equal weights, as it was found.
        engine: the engine's values of the last sure time.
        trainer: the trainer's values of the last sure time; None before the first.
        last: engine's and trainer's values of the last look.
        followed: since it was opened the engine was surely seen to follow. Before that, another
            sequence would forget the small steps that have not added up yet.
    """

    tolerance: float
    floor: float
    noise: float = 0.0
    engine: list[float] = field(default_factory=list)
    trainer: list[float] | None = None
    last: tuple[list[float], list[float]] = field(default=([], []))
    followed: bool = False

    def open(
        self, engine: list[float], trainer: list[float], before: list[float] | None = None
    ) -> None:
        """The first look. ``before`` is the trainer's without its adapter, if it has one."""
        gap = distance(engine, trainer)
        self.noise = self.floor
        if before is not None and self.stale(engine, trainer, before):
            raise self.unchanged("the adapter", gap, distance(before, trainer))
        self.noise = min(max(gap, self.floor), self.tolerance)
        self.followed = False
        if gap > self.tolerance:
            raise GrpokitError(
                f"vLLM and the trainer do not compute the same model: their log-probabilities "
                f"differ by {gap:.3g} nats a token, more than {self.tolerance:g}",
                place="backend.with.vllm",
                remedy="set the same model.dtype for both (float32 is the most exact), take no "
                "quantisation in backend.with.vllm.options, or raise backend.with.vllm.tolerance",
            )
        self.engine, self.trainer = self.last = engine, trainer

    def check(self, engine: list[float], trainer: list[float], version: int) -> None:
        """After each change of the weights."""
        assert self.trainer is not None
        moved = distance(self.trainer, trainer)
        gap = distance(engine, trainer)
        looks = (self.last, (self.engine, self.trainer))
        self.last = engine, trainer
        frozen = any(
            engine == before and distance(known, trainer) > self.floor / SURE
            for before, known in looks
        )
        if frozen or self.stale(engine, trainer, self.trainer):
            raise self.unchanged(f"version {version} of the weights", gap, moved)
        if gap > self.tolerance and gap > SURE * self.noise:
            raise GrpokitError(
                f"with version {version} of the weights vLLM's log-probabilities differ from the "
                f"trainer's by {gap:.3g} nats a token, {self.noise:.2g} at the start",
                place="backend.with.vllm",
                remedy="set model.dtype: float32, or raise backend.with.vllm.tolerance",
            )
        if moved > 2 * SURE * self.noise:
            self.engine, self.trainer = engine, trainer
            self.followed = True

    def stale(
        self, engine: Sequence[float], trainer: Sequence[float], before: Sequence[float]
    ) -> bool:
        """The engine is far from the weights that it should have and close to those of before."""
        gap = distance(engine, trainer)
        return gap > SURE * self.noise and distance(engine, before) < gap / 2

    def unchanged(self, what: str, gap: float, moved: float) -> GrpokitError:
        return GrpokitError(
            f"{what} did not reach vLLM: the trainer's log-probabilities moved by {moved:.3g} nats "
            f"a token, vLLM's stayed where they were and are {gap:.3g} away",
            place="backend.with.vllm",
            remedy="set backend.with.vllm.sync to the other way (adapter or reload), or sample "
            "without vLLM: `--set backend.with.rollouts=transformers`",
        )

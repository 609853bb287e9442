"""What an update is given, and what it tells of itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from grpokit.api import LossFunction, ShouldStop
from grpokit_hf.nn.batch import Row

__all__ = ["Job", "Share", "Tally", "free_memory"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One rollout batch on its way through the optimiser."""

    loss: LossFunction
    rows: Sequence[Row]
    denominator: int
    max_tokens: int
    temperature: float
    step: int
    should_stop: ShouldStop | None

    def poll(self) -> None:
        if self.should_stop is not None:
            self.should_stop()


@dataclass
class Tally:
    """Metric sums and times of one update."""

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

    def metrics(self) -> dict[str, float]:
        means = {name: over / under for name, (over, under) in self.sums.items() if under}
        if not self.norms and not self.skipped:
            return means
        means["lr"] = self.lr
        means["skipped_steps"] = float(self.skipped)
        if self.norms:
            means["grad_norm"] = sum(self.norms) / len(self.norms)
            means["loss"] = sum(self.losses) / len(self.losses)
        return means


@dataclass(frozen=True)
class Share:
    """What one pass over the micro-batches of an optimiser step gave."""

    loss: float
    sums: Mapping[str, tuple[float, float]]


def free_memory(device: torch.device) -> None:
    """Gives cached memory of a GPU back, before less is tried."""
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""The share of dead groups in a run's first steps, with an interval that is meant to hold it.

What is predicted is a number that the run will show: the mean of `dead_groups` over its first steps, M groups
in all. Four things make it differ from the mean over the probed questions, and all four are in the interval:

1. Other questions are asked than were probed, and those were sampled a few times only. The spread of the
   questions' estimates holds both: with Q questions their mean has the variance s^2 / Q.
2. The run draws M groups, each dead or not: D (1 - D) / M.
3. The policy moves. A few real steps are taken and thrown away, and the questions are probed once more. In
   between the share is taken to go in a line, and after that to stay.
4. It does not stay there, and the next run takes another path. One standard deviation is PATH of the change
   that was seen, and what the remaining steps would change at a quarter of its pace per unit of learning rate.
   Both were chosen on eight runs of ten steps (`docs/howto-probe.md`), with room to spare.

The interval holds every share that a score test would not refuse, so it keeps a width where all questions agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sqrt
from statistics import NormalDist, fmean

from grpokit.evaluate.intervals import Interval
from grpokit.evaluate.means import effective_size
from grpokit.spec.recipe import OptimSection

__all__ = ["Horizon", "Share", "learning_rates", "predict"]

PATH = 0.15
"""One standard deviation of the change that was seen, as a share of it."""
ONWARD = 0.25
"""Pace of the change after the rehearsed steps, of that within them; one standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The steps that are predicted.

    Attributes:
        steps: how many.
        groups: they draw, in all.
        rehearsed: steps between the two probes; 0 without a second one.
        rates: learning rate of each step, on any scale.
    """

    steps: int
    groups: int
    rehearsed: int = 0
    rates: Sequence[float] = ()

    @property
    def after(self) -> float:
        """The weight of the second probe in the mean over the steps; the first has the rest.

        Step t begins with t - 1 updates behind it: step 1 with none, step ``rehearsed`` + 1 with all.
        """
        if not self.rehearsed:
            return 0.0
        return fmean(min(t / self.rehearsed, 1.0) for t in range(self.steps))

    @property
    def onward(self) -> float:
        """What the steps after the rehearsed ones move on the whole, in units of the change that was seen."""
        if not self.rehearsed or self.steps <= self.rehearsed:
            return 0.0
        rates = list(self.rates) or [1.0] * self.steps
        seen = sum(rates[: self.rehearsed]) or 1.0
        return fmean(max(sum(rates[:t]) / seen - 1, 0.0) for t in range(self.steps))


@dataclass(frozen=True, kw_only=True)
class Share:
    """A predicted share: its mean, the 95 % interval of what a run will show, and what moved it."""

    mean: float
    interval: Interval
    now: float
    later: float | None = None

    @property
    def width(self) -> float:
        return self.interval[1] - self.interval[0]


def predict(
    now: Sequence[float], later: Sequence[float] | None, horizon: Horizon, *, level: float = 0.95
) -> Share:
    """The share over the horizon, from the share of each question now and after the rehearsed steps."""
    weight = horizon.after if later is not None else 0.0
    ends = now if later is None else later
    mixed = [(1 - weight) * a + weight * b for a, b in zip(now, ends, strict=True)]
    change = fmean(ends) - fmean(now)
    moved = abs(change) * (PATH**2 + (ONWARD * horizon.onward) ** 2) ** 0.5
    return Share(
        mean=fmean(mixed),
        interval=_interval(mixed, horizon.groups, moved, level),
        now=fmean(now),
        later=None if later is None else fmean(later),
    )


def _interval(shares: Sequence[float], groups: int, moved: float, level: float) -> Interval:
    """The shares y of ``groups`` that a score test would not refuse, given those of the questions.

    (y - x)^2 <= z^2 [p (1 - p) (1 / N + 1 / M) + moved^2], with p what both say together, and N as many groups as
    tell what the questions do. The ends are shares that M groups can have, the outer ones.
    """
    known = effective_size(shares, samples=len(shares))
    mean, z = fmean(shares), NormalDist().inv_cdf((1 + level) / 2)

    def refused(count: int) -> bool:
        y = count / groups
        both = (known * mean + groups * y) / (known + groups)
        variance = both * (1 - both) * (1 / known + 1 / groups) + moved**2
        return abs(y - mean) - 0.5 / groups > z * sqrt(variance)

    kept = [count for count in range(groups + 1) if not refused(count)]
    return min(kept) / groups, max(kept) / groups


def learning_rates(optim: OptimSection, steps: int, count: int) -> list[float]:
    """The rates of the first ``count`` steps of a run, as shares of the peak."""
    warm = 0 if optim.schedule == "constant" else optim.warmup
    warm = min(round(warm * steps if warm < 1 else warm), steps)
    rates = []
    for step in range(count):
        done = min(1.0, max(step - warm, 0) / max(1, steps - warm))
        fall = {"linear": 1 - done, "cosine": 0.5 * (1 + cos(pi * done))}.get(optim.schedule, 1.0)
        rates.append((step + 1) / warm if step < warm else fall)
    return rates

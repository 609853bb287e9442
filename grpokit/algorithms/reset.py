"""Axis ``reset``: what begins anew in the course of a run. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grpokit.spec.flow import Outcome, Resets

__all__ = ["Prolong", "Restart", "never"]


def never(step: int) -> Resets:
    """Nothing: one optimiser and one reference policy for the whole run."""
    del step
    return Resets()


@dataclass(frozen=True)
class Restart:
    """Policy and optimiser begin anew before every ``every``-th update (ReST-EM, arXiv 2312.06585).

    With ``every`` 1 each update fine-tunes the model as it was loaded, on what the policy of the step
    before wrote. Degenerate: where such an update has nothing to train on, the policy is not reset.
    """

    every: int = 1

    def __call__(self, step: int) -> Resets:
        due = (step - 1) % self.every == 0
        return Resets(policy=due, optimizer=due)


@dataclass
class Prolong:
    """The reference becomes the present policy and AdamW forgets, when training stalls (ProRL, arXiv 2505.24864).

    It is due before the next update once one condition holds for the steps since the last reset:

    * ``every``: so many steps are done
    * ``kl_above``: the mean of the metric ``kl`` over the last ``window`` of them exceeds it
    * ``patience``: so many steps in a row had no mean reward above the best before + ``min_gain``

    A condition of None never holds. The divergence is exactly 0 in the first update after a reset. The
    paper watches a validation reward; this is the reward of training. A step without a reward or a kl
    does not count for that condition.
    """

    every: int | None = None
    kl_above: float | None = None
    window: int = 10
    patience: int | None = None
    min_gain: float = 0.0
    steps: int = 0
    stale: int = 0
    best: float | None = None
    kls: list[float] = field(default_factory=list)

    @property
    def needs_reference(self) -> bool:
        return self.kl_above is not None

    @property
    def due(self) -> bool:
        """Whether the next update comes after a reset."""
        full = len(self.kls) == self.window
        return (
            (self.every is not None and self.steps >= self.every)
            or (self.kl_above is not None and full and sum(self.kls) / self.window > self.kl_above)
            or (self.patience is not None and self.stale >= self.patience)
        )

    def __call__(self, step: int) -> Resets:
        del step
        return Resets(reference=self.due, optimizer=self.due)

    def observe(self, outcome: Outcome) -> None:
        if self.due:  # it was done before the update of this step
            self.steps, self.stale, self.best, self.kls = 0, 0, None, []
        self.steps += 1
        reward, kl = outcome.metrics.get("reward"), outcome.metrics.get("kl")
        if reward is not None and (self.best is None or reward > self.best + self.min_gain):
            self.best, self.stale = reward, 0
        elif reward is not None:
            self.stale += 1
        if kl is not None:
            self.kls = [*self.kls, kl][-self.window :]

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "stale": self.stale, "best": self.best, "kls": list(self.kls)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.steps, self.stale = int(state["steps"]), int(state["stale"])
        self.best, self.kls = state["best"], list(state["kls"])

"""Axis ``regulariser``: an entropy bonus that remembers how the entropy went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from grpokit.algorithms import axes
from grpokit.algorithms.regulariser import EntropyBonus
from grpokit.algorithms.remember_config import AdaptiveEntropyConfig
from grpokit.spec.flow import LossInputs, Outcome

__all__ = ["AdaptiveEntropy", "adaptive_entropy"]


@dataclass
class AdaptiveEntropy:
    """An entropy bonus that grows while the entropy is too low (Skywork-OR1, arXiv 2505.22312).

    after each step:  c = min(c + delta, high) if H <= target, else max(c - delta, low)
    in the next one:  -c H(pi) a token if H <= target, else nothing

    H is the mean entropy a token of the step before, as the metric ``entropy`` has it. The first step
    has none, and no bonus. ``mean`` is that of ``EntropyBonus``; tokens is TRL's. TRL counts optimiser
    steps where this counts steps. A step that trained on nothing changes nothing.
    """

    target: float
    coefficient: float = 0.0
    delta: float = 0.005
    low: float = 0.0
    high: float = 1.0
    mean: Literal["objective", "tokens"] = "objective"
    last: float = field(default=math.inf)
    needs_entropy: bool = True

    @property
    def applied(self) -> float:
        """The coefficient of the coming step."""
        return self.coefficient if self.last <= self.target else 0.0

    def __call__(self, inputs: LossInputs, ratio_NT: Tensor, /) -> Tensor | None:
        return EntropyBonus(self.applied, self.mean)(inputs, ratio_NT)

    def apart(self, inputs: LossInputs) -> Tensor | None:
        """The share of a bonus that is not aggregated like the objective."""
        return EntropyBonus(self.applied, self.mean).apart(inputs)

    def observe(self, outcome: Outcome) -> None:
        found = outcome.metrics.get("entropy")
        if found is None or not math.isfinite(found):
            return
        self.last = found
        if found <= self.target:
            self.coefficient = min(self.coefficient + self.delta, self.high)
        else:
            self.coefficient = max(self.coefficient - self.delta, self.low)

    def state(self) -> dict[str, Any]:
        return {
            "coefficient": self.coefficient,
            "last": self.last if math.isfinite(self.last) else None,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.coefficient = float(state["coefficient"])
        self.last = math.inf if state["last"] is None else float(state["last"])


def adaptive_entropy(config: AdaptiveEntropyConfig) -> axes.Regulariser:
    return AdaptiveEntropy(config.target, config.coefficient, config.delta, config.low, config.high)

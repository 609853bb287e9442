"""Axis ``rollout``: how the completions of a step are drawn. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from grpokit.spec.flow import Sampling

__all__ = ["SamplingStages", "as_given"]


def as_given(sampling: Sampling) -> Sampling:
    """As the recipe says, in every step."""
    return sampling


@dataclass(frozen=True)
class SamplingStages:
    """Longer, hotter or otherwise from some step on (DeepScaleR's lengths, POLARIS' temperatures).

    ``stages`` are (first step, values) in the order of their steps. A value holds until a later stage
    has another one; before the first stage, and where no stage says anything, the recipe's holds.
    """

    stages: tuple[tuple[int, Mapping[str, Any]], ...]

    def __call__(self, sampling: Sampling, /) -> Sampling:
        for first, values in self.stages:
            if sampling.step >= first:
                sampling = replace(sampling, **values)
        return sampling

"""Parts that steer a step: which rows, how they are drawn, which groups go on, what begins anew."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["SPECS"]

_PARTS = "grpokit.algorithms.step_parts:"
_CONFIGS = "grpokit.algorithms.step_config:"

SPECS = (
    AlgorithmSpec(
        name="in-order",
        axis="sampler",
        summary="Every row once an epoch, in the order that rollout.shuffle says.",
        target=_PARTS + "in_order",
    ),
    AlgorithmSpec(
        name="as-given",
        axis="rollout",
        summary="Completions are drawn as the recipe's rollout says, in every step.",
        target=_PARTS + "as_given",
    ),
    AlgorithmSpec(
        name="fixed",
        axis="allocate",
        summary="One round of rollout.prompts questions; every group goes on.",
        target=_PARTS + "fixed",
    ),
    AlgorithmSpec(
        name="never",
        axis="reset",
        summary="One optimiser and one reference policy for the whole run.",
        target=_PARTS + "never",
    ),
)
"""Parts of the axes sampler, rollout, allocate and reset."""

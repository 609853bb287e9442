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
        name="hardest",
        axis="sampler",
        summary="The share of rows with the lowest pass rate, which a column holds.",
        target=_PARTS + "hardest",
        config=_CONFIGS + "HardestConfig",
        paper="2508.14094",
    ),
    AlgorithmSpec(
        name="band",
        axis="sampler",
        summary="Rows whose difficulty, a number in a column, lies between two bounds.",
        target=_PARTS + "band",
        config=_CONFIGS + "BandConfig",
    ),
    AlgorithmSpec(
        name="history",
        axis="sampler",
        summary="Rows that were solved by every completion when last asked are left out (SRPO).",
        target=_PARTS + "history",
        config=_CONFIGS + "HistoryConfig",
        paper="2504.14286",
    ),
    AlgorithmSpec(
        name="easy-drop",
        axis="sampler",
        summary="Rows with a high mean score are dropped at the borders of stages (POLARIS).",
        target=_PARTS + "easy_drop",
        config=_CONFIGS + "EasyDropConfig",
    ),
    AlgorithmSpec(
        name="variance",
        axis="sampler",
        summary="The few rows whose accuracy varied most, again and again (1-shot RLVR).",
        target=_PARTS + "variance",
        config=_CONFIGS + "VarianceConfig",
        paper="2504.20571",
        formula="var(acc_1, acc_2, ...) of each row",
    ),
    AlgorithmSpec(
        name="one-example",
        axis="sampler",
        summary="One row, or a few in turn, for all prompts of every step (1-shot RLVR).",
        target=_PARTS + "one_example",
        config=_CONFIGS + "OneExampleConfig",
        paper="2504.20571",
    ),
    AlgorithmSpec(
        name="staged",
        axis="sampler",
        summary="One kind of rows after another: first this domain, from some step on that one.",
        target=_PARTS + "staged",
        config=_CONFIGS + "StagedConfig",
        paper="2504.14286",
    ),
    AlgorithmSpec(
        name="as-given",
        axis="rollout",
        summary="Completions are drawn as the recipe's rollout says, in every step.",
        target=_PARTS + "as_given",
    ),
    AlgorithmSpec(
        name="stages",
        axis="rollout",
        summary="Another length limit, temperature or cut of the distribution from some step on.",
        target=_PARTS + "stages",
        config=_CONFIGS + "StagesConfig",
    ),
    AlgorithmSpec(
        name="fixed",
        axis="allocate",
        summary="One round of rollout.prompts questions; every group goes on.",
        target=_PARTS + "fixed",
    ),
    AlgorithmSpec(
        name="dynamic-sampling",
        axis="allocate",
        summary="Only groups whose metric differs train; further rounds fill the batch (DAPO).",
        target=_PARTS + "dynamic_sampling",
        config=_CONFIGS + "DynamicSamplingConfig",
        paper="2503.14476",
        formula="keep if std(metric) > 0",
    ),
    AlgorithmSpec(
        name="std-filter",
        axis="allocate",
        summary="Groups with a low deviation against its running mean are replaced (RLPR).",
        target=_PARTS + "std_filter",
        config=_CONFIGS + "StdFilterConfig",
        paper="2506.18254",
        formula="keep if std(r) > beta * EMA(std)",
    ),
    AlgorithmSpec(
        name="rescue",
        axis="allocate",
        summary="Groups without signal are replaced by copies of informative ones, by lot (POLARIS).",
        target=_PARTS + "rescue",
    ),
    AlgorithmSpec(
        name="never",
        axis="reset",
        summary="One optimiser and one reference policy for the whole run.",
        target=_PARTS + "never",
    ),
)
"""Parts of the axes sampler, rollout, allocate and reset."""

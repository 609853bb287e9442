"""Parts that shape totals by length, and algorithms that steer what a step asks and keeps."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec
from grpokit.builtins.named import GRPO_PARTS

__all__ = ["SPECS"]

_SHAPING = "grpokit.algorithms.shaping_parts:"
_SHAPING_CONFIGS = "grpokit.algorithms.shaping_config:"

_STEERED = "grpokit.algorithms.steered:"
_STEERED_CONFIGS = "grpokit.algorithms.steered_config:"
_NEEDS = frozenset({"logprobs", "custom-loss"})


def _parts(**other: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """GRPO's parts with others in their place."""
    return tuple({**GRPO_PARTS, **{axis: (name,) for axis, name in other.items()}}.items())


SHAPING = (
    AlgorithmSpec(
        name="overlong",
        axis="aggregate",
        summary="Weighted sum, less a punishment that grows over the last tokens before the limit.",
        target=_SHAPING + "overlong",
        config=_SHAPING_CONFIGS + "OverlongConfig",
        paper="2503.14476",
        formula="r + weight * max(-1, min(0, (L_max - cache - L) / cache))",
    ),
    AlgorithmSpec(
        name="cosine-length",
        axis="aggregate",
        summary="Weighted sum plus a score by length and correctness, in cycles of steps.",
        target=_SHAPING + "cosine_length",
        config=_SHAPING_CONFIGS + "CosineLengthConfig",
        paper="2502.03373",
        formula="r + weight * (long + (short - long) (1 + cos(pi L / L_max)) / 2)",
    ),
    AlgorithmSpec(
        name="stop-properly",
        axis="aggregate",
        summary="Weighted sum; completions that ran into the limit keep a share of it (ProRL v2).",
        target=_SHAPING + "stop_properly",
        config=_SHAPING_CONFIGS + "StopProperlyConfig",
        formula="r if the completion stopped, else coefficient * r",
    ),
)

NAMED = (
    AlgorithmSpec(
        name="dapo",
        min_group=2,
        summary="Clip-higher, token mean, and only groups that differ, in as many rounds as it takes.",
        target=_STEERED + "dapo",
        config=_STEERED_CONFIGS + "DapoConfig",
        needs=_NEEDS,
        paper="2503.14476",
        formula="-sum_it min(w A_i, clip(w, 1-.2, 1+.28) A_i) / sum_i L_i where std(metric) > 0",
        parts=_parts(allocate="dynamic-sampling", aggregation="token-mean"),
    ),
    AlgorithmSpec(
        name="srpo",
        min_group=2,
        summary="Rows that every completion solved leave the next epochs; truncated ones teach nothing.",
        target=_STEERED + "srpo",
        config=_STEERED_CONFIGS + "SrpoConfig",
        needs=_NEEDS,
        paper="2504.14286",
        formula="A_i = (r_i - mean r) / std r, 0 where truncated; token mean",
        parts=_parts(sampler="history", advantage="zscore-stopped", aggregation="token-mean"),
    ),
    AlgorithmSpec(
        name="polaris",
        min_group=2,
        summary="Stages of drawing, easy rows out between them, copies in place of dead groups.",
        target=_STEERED + "polaris",
        config=_STEERED_CONFIGS + "PolarisConfig",
        needs=_NEEDS,
        formula="-sum_it min(w A_i, clip(w, 1-.2, 1+.28) A_i) / sum_i L_i",
        parts=_parts(sampler="easy-drop", allocate="rescue", aggregation="token-mean"),
    ),
)

SPECS = (
    *SHAPING,
    AlgorithmSpec(
        name="zscore-stopped",
        axis="advantage",
        min_group=2,
        summary="The z-score within the group; completions that ran into the limit get 0 (SRPO).",
        target=_STEERED + "zscore_stopped",
        config="grpokit.algorithms.part_config:ZscoreConfig",
        paper="2504.14286",
        formula="A_i = (r_i - mean r) / (std r + eps), 0 where truncated",
    ),
    *NAMED,
)
"""Everything above."""

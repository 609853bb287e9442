"""Parts that shape totals by length, and algorithms that steer what a step asks and keeps."""

from __future__ import annotations

from grpokit.api import AlgorithmSpec

__all__ = ["SPECS"]

_SHAPING = "grpokit.algorithms.shaping_parts:"
_SHAPING_CONFIGS = "grpokit.algorithms.shaping_config:"

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

SPECS = SHAPING
"""Everything above."""

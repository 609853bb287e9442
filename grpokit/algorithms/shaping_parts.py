"""Parts of ``aggregate`` that look at lengths, as components: ``factory(config)``."""

from __future__ import annotations

from grpokit.algorithms import axes, shaping
from grpokit.algorithms.shaping_config import (
    CosineLengthConfig,
    OverlongConfig,
    StopProperlyConfig,
)

__all__ = ["cosine_length", "overlong", "stop_properly"]


def overlong(config: OverlongConfig) -> axes.RolloutAggregate:
    return shaping.Overlong(config.cache, config.weight)


def cosine_length(config: CosineLengthConfig) -> axes.RolloutAggregate:
    return shaping.CosineLength(
        metric=config.metric,
        threshold=config.threshold,
        weight=config.weight,
        correct=(config.correct_short, config.correct_long),
        wrong=(config.wrong_short, config.wrong_long),
        active=shaping.Cycle(start=config.start, on=config.on, off=config.off),
    )


def stop_properly(config: StopProperlyConfig) -> axes.RolloutAggregate:
    return shaping.StopProperly(config.coefficient)

"""Single parts that steer a step, as components: ``factory(config)``."""

from __future__ import annotations

from grpokit.algorithms import allocate, axes, reset, rollout, sampler, sampler_history
from grpokit.algorithms.offline_config import RestartConfig
from grpokit.algorithms.remember_config import ProlongConfig
from grpokit.algorithms.step_config import (
    BandConfig,
    DynamicSamplingConfig,
    EasyDropConfig,
    HardestConfig,
    HistoryConfig,
    OneExampleConfig,
    RoundsConfig,
    SamplingStage,
    StageConfig,
    StagedConfig,
    StagesConfig,
    StdFilterConfig,
    VarianceConfig,
)

__all__ = [
    "as_given",
    "band",
    "dynamic_sampling",
    "easy_drop",
    "fixed",
    "hardest",
    "history",
    "in_order",
    "never",
    "one_example",
    "prolong",
    "rescue",
    "restart",
    "rounds_of",
    "staged",
    "stages",
    "stages_of",
    "std_filter",
    "variance",
]


def in_order() -> axes.Sampler:
    return sampler.in_order


def hardest(config: HardestConfig) -> axes.Sampler:
    return sampler.Hardest(config.column, config.share)


def band(config: BandConfig) -> axes.Sampler:
    return sampler.Band(config.column, config.low, config.high)


def one_example(config: OneExampleConfig) -> axes.Sampler:
    return sampler.OneExample(tuple(config.rows))


def staged(config: StagedConfig) -> axes.Sampler:
    return sampler.Staged(_stages(config.stages))


def _stages(config: list[StageConfig]) -> tuple[sampler.Stage, ...]:
    return tuple(
        sampler.Stage(
            stage.steps,
            {
                column: tuple(value) if isinstance(value, list) else value
                for column, value in stage.where.items()
            },
        )
        for stage in config
    )


def history(config: HistoryConfig) -> axes.Sampler:
    return sampler_history.History(
        config.metric, config.threshold, config.again_after, _stages(config.stages)
    )


def easy_drop(config: EasyDropConfig) -> axes.Sampler:
    return sampler_history.EasyDrop(
        config.metric, config.above, config.every, frozenset(config.after)
    )


def variance(config: VarianceConfig) -> axes.Sampler:
    return sampler_history.Variance(config.top, config.column, config.warmup or 0, config.metric)


def as_given() -> axes.RolloutWay:
    return rollout.as_given


def stages(config: StagesConfig) -> axes.RolloutWay:
    return stages_of(config.stages)


def stages_of(config: list[SamplingStage]) -> axes.RolloutWay:
    """The rollout of these stages; the recipe's own where there are none."""
    if not config:
        return rollout.as_given
    return rollout.SamplingStages(tuple((stage.from_, stage.values()) for stage in config))


def fixed() -> axes.Allocate:
    return allocate.fixed


def rescue() -> axes.Allocate:
    return allocate.rescue


def dynamic_sampling(config: DynamicSamplingConfig) -> axes.Allocate:
    return allocate.DynamicSampling(
        metric=config.metric, tolerance=config.tolerance, rounds=rounds_of(config)
    )


def std_filter(config: StdFilterConfig) -> axes.Allocate:
    return allocate.StdFilter(
        metric=config.metric,
        beta=config.beta,
        ratio=config.ratio,
        since=config.since,
        start=config.start,
        rounds=rounds_of(config),
    )


def rounds_of(config: RoundsConfig) -> allocate.Rounds:
    """The rounds that the settings describe."""
    return allocate.Rounds(
        factor=config.factor,
        max_rounds=config.max_rounds,
        refill=config.refill,
        on_bound=config.on_bound,
    )


def never() -> axes.Reset:
    return reset.never


def prolong(config: ProlongConfig) -> axes.Reset:
    return reset.Prolong(
        every=config.every,
        kl_above=config.kl_above,
        window=config.window,
        patience=config.patience,
        min_gain=config.min_gain,
    )


def restart(config: RestartConfig) -> axes.Reset:
    return reset.Restart(config.every)

"""Settings of the parts that steer a step: sampler, rollout, allocate. No torch here."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from grpokit.spec.config import Config

__all__ = [
    "BandConfig",
    "DynamicSamplingConfig",
    "EasyDropConfig",
    "HardestConfig",
    "HistoryConfig",
    "MetricConfig",
    "OneExampleConfig",
    "RoundsConfig",
    "SamplingStage",
    "StageConfig",
    "StagedConfig",
    "StagesConfig",
    "StdFilterConfig",
    "VarianceConfig",
    "longest",
]

Plain = bool | int | float | str


class MetricConfig(Config):
    """A score that decides something."""

    metric: str = "total"
    """What decides: total, or the name of one reward."""

    def reward_names(self) -> dict[str, tuple[str, ...]]:
        """Rewards that the recipe must have."""
        return {} if self.metric == "total" else {"metric": (self.metric,)}


class HardestConfig(Config):
    """Settings of ``hardest``."""

    column: str = "pass_rate"
    """Column with the pass rate of the model before training, as a number."""
    share: float = Field(default=0.1, gt=0, le=1)
    """Share of the rows that train, rounded up: those with the lowest pass rates."""

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return (self.column,)


class BandConfig(Config):
    """Settings of ``band``."""

    column: str = "pass_rate"
    """Column with a difficulty, as a number."""
    low: float = 0.1
    """Smallest value that trains."""
    high: float = 0.9
    """Largest value that trains."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g} and must not exceed high, {self.high:g}")
        return self

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return (self.column,)


class OneExampleConfig(Config):
    """Settings of ``one-example``."""

    rows: list[int] = Field(default=[0], min_length=1)
    """Rows of the data set, from 0, that fill every step in turn."""

    @field_validator("rows")
    @classmethod
    def _count_from_0(cls, rows: list[int]) -> list[int]:
        if min(rows) < 0:
            raise ValueError(f"row {min(rows)} does not exist; rows count from 0")
        return rows


class StageConfig(Config):
    """One stage of ``staged``."""

    steps: int | None = Field(default=None, ge=1)
    """Length of the stage; the last one has none."""
    where: dict[str, Plain | list[Plain]] = Field(default={})
    """Column to the value that a row must have, or to a list of values; without any, every row."""


class StagedConfig(Config):
    """Settings of ``staged``."""

    stages: list[StageConfig] = Field(min_length=1)
    """Stages in their order; each but the last has a number of steps."""

    @field_validator("stages")
    @classmethod
    def _check(cls, stages: list[StageConfig]) -> list[StageConfig]:
        return endless(stages)

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return columns_of(self.stages)


def endless(stages: list[StageConfig]) -> list[StageConfig]:
    """The stages, if all but the last have an end.

    Raises:
        ValueError: what is wrong with them.
    """
    if any(stage.steps is None for stage in stages[:-1]):
        raise ValueError("each stage but the last needs steps, or the next one never begins")
    if stages and stages[-1].steps is not None:
        raise ValueError("the last stage has no end; leave its steps out")
    return stages


def columns_of(stages: list[StageConfig]) -> tuple[str, ...]:
    """Columns that the stages look at."""
    return tuple(dict.fromkeys(column for stage in stages for column in stage.where))


class HistoryConfig(MetricConfig):
    """Settings of ``history``."""

    metric: str = "total"
    """What says that a completion is correct: total, or the name of one reward."""
    threshold: float = 1.0
    """A completion is correct if the metric is at least this."""
    again_after: int | None = Field(default=None, ge=1)
    """Steps after which a row that was solved is asked again; null is never."""
    stages: list[StageConfig] = Field(default=[])
    """Stages as in staged, within which history acts: first this domain, later that one; none is every row."""

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: list[StageConfig]) -> list[StageConfig]:
        return endless(stages)

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return columns_of(self.stages)


class EasyDropConfig(MetricConfig):
    """Settings of ``easy-drop``."""

    metric: str = "total"
    """What is averaged: total, or the name of one reward."""
    above: float = 0.9
    """Rows with a mean above this are dropped at a border."""
    every: int | None = Field(default=None, ge=1)
    """A border lies behind each so many steps."""
    after: list[int] = Field(default=[])
    """A border lies behind each of these steps, too."""


class VarianceConfig(MetricConfig):
    """Settings of ``variance``."""

    top: int = Field(default=1, ge=1)
    """Rows that train: those whose accuracy varies most."""
    column: str | None = None
    """Column with a list of accuracies a row (or their variance) from a run before."""
    warmup: int | None = Field(default=None, ge=1)
    """Without a column: steps that ask every row in order and record accuracies; two epochs at least."""
    metric: str = "total"
    """Accuracy that is recorded: total, or the name of one reward."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.column is None) == (self.warmup is None):
            raise ValueError(
                "set either column, for accuracies of a run before, or warmup, to record them"
            )
        return self

    def columns(self) -> tuple[str, ...]:
        """Columns that the data set must have."""
        return () if self.column is None else (self.column,)


class SamplingStage(Config):
    """What holds from a step on; what is left out stays as it was."""

    from_: int = Field(alias="from", ge=1)
    """First step of the stage."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Length limit of a completion, in tokens."""
    temperature: float | None = Field(default=None, gt=0)
    """Sampling temperature."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling; 1 is off."""
    top_k: int | None = Field(default=None, ge=0)
    """Keep the k likeliest tokens; 0 is off."""
    min_p: float | None = Field(default=None, ge=0, lt=1)
    """Drop tokens less likely than this share of the likeliest; 0 is off."""

    def values(self) -> dict[str, Any]:
        """Fields of ``Sampling`` that the stage sets."""
        return self.model_dump(exclude={"from_"}, exclude_none=True)


class StagesConfig(Config):
    """Settings of ``stages``."""

    stages: list[SamplingStage] = Field(min_length=1)
    """Stages, each with its first step, in their order."""

    @field_validator("stages")
    @classmethod
    def _ascend(cls, stages: list[SamplingStage]) -> list[SamplingStage]:
        return ascending(stages)

    def asks(self, *, prompts: int, max_tokens: int) -> tuple[int, int]:
        """Questions of a first round, and the longest completion."""
        return prompts, longest(self.stages, max_tokens)


def ascending(stages: list[SamplingStage]) -> list[SamplingStage]:
    """The stages, if each begins after the one before.

    Raises:
        ValueError: with the two steps.
    """
    for one, other in pairwise(stages):
        if one.from_ >= other.from_:
            raise ValueError(f"a stage from {other.from_} cannot follow one from {one.from_}")
    return stages


def longest(stages: list[SamplingStage], max_tokens: int) -> int:
    """The largest length limit of all stages, where the recipe's is ``max_tokens``."""
    limits = [stage.max_tokens for stage in stages if stage.max_tokens is not None]
    replaced = bool(stages) and stages[0].from_ == 1 and stages[0].max_tokens is not None
    return max(limits if replaced else [max_tokens, *limits])


class RoundsConfig(Config):
    """Rounds of questions until the batch is full."""

    factor: float = Field(default=1.0, ge=1)
    """Questions of the first round, in multiples of rollout.prompts; 3 in verl's script."""
    max_rounds: int = Field(default=10, ge=1)
    """Rounds of a step at most."""
    refill: Literal["round", "missing"] = "round"
    """A further round asks as many questions as the first one (the paper, verl), or only as many as are missing."""
    on_bound: Literal["error", "train"] = "error"
    """After the last round: end the run with an error (verl), or train on the groups that there are."""

    def asks(self, *, prompts: int, max_tokens: int) -> tuple[int, int]:
        """Questions of a first round, and the longest completion."""
        return math.ceil(self.factor * prompts - 1e-9), max_tokens


class DynamicSamplingConfig(RoundsConfig, MetricConfig):
    """Settings of ``dynamic-sampling``."""

    metric: str = "total"
    """What must differ within a group: total, or the name of one reward. The paper takes the accuracy."""
    tolerance: float = Field(default=1e-8, ge=0)
    """A group trains if the standard deviation of its metric is above this."""


class StdFilterConfig(RoundsConfig, MetricConfig):
    """Settings of ``std-filter``."""

    metric: str = "total"
    """What must differ within a group: total, or the name of one reward."""
    beta: float = Field(default=0.5, ge=0)
    """A group trains if its standard deviation is above this share of the running mean."""
    ratio: float = Field(default=0.99, ge=0, lt=1)
    """Weight of the past in the running mean of the deviations."""
    since: int = Field(default=6, ge=1)
    """First step whose deviations count."""
    start: int = Field(default=11, ge=2)
    """First step that filters; the running mean begins as the plain one of the steps from since to here."""

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.since >= self.start:
            raise ValueError(f"since is {self.since} and must lie before start, {self.start}")
        return self

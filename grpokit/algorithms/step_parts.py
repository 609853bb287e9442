"""Single parts that steer a step, as components: ``factory(config)``."""

from __future__ import annotations

from grpokit.algorithms import allocate, axes, reset, rollout, sampler

__all__ = ["as_given", "fixed", "in_order", "never"]


def in_order() -> axes.Sampler:
    return sampler.in_order


def as_given() -> axes.RolloutWay:
    return rollout.as_given


def fixed() -> axes.Allocate:
    return allocate.fixed


def never() -> axes.Reset:
    return reset.never

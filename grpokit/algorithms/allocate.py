"""Axis ``allocate``: which groups go on to the update, and whether the step asks more questions."""

from __future__ import annotations

from grpokit.spec.flow import Allocation, Gathered

__all__ = ["fixed"]


def fixed(gathered: Gathered) -> Allocation:
    """Every group of one round, whatever it is worth."""
    return Allocation(keep=tuple(range(len(gathered.rollout.prompts))))

"""Axis ``reset``: what begins anew in the course of a run. No torch here."""

from __future__ import annotations

from grpokit.spec.flow import Resets

__all__ = ["never"]


def never(step: int) -> Resets:
    """Nothing: one optimiser and one reference policy for the whole run."""
    del step
    return Resets()

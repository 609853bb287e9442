"""What the rewards say about themselves."""

from __future__ import annotations

from grpokit.api import RewardSpec

__all__ = ["REWARDS"]

_HERE = "grpokit_math.rewards"

REWARDS = (
    RewardSpec(
        name="boxed-format",
        summary="The completion has a closed, non-empty box outside of thinking blocks.",
        target=f"{_HERE}.boxed:boxed_format",
    ),
)

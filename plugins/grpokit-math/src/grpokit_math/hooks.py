"""What this plugin registers. It names code and imports none of it but lists of names."""

from __future__ import annotations

from collections.abc import Iterable

from grpokit.api import RewardSpec, hookimpl
from grpokit_math.rewards.specs import REWARDS

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return REWARDS

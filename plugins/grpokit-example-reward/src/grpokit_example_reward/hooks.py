"""What this plugin registers. It names code and imports none of it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import RewardSpec, hookimpl

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return [
        RewardSpec(
            name="distinct",
            summary="Share of word n-grams that are not repeats: 1 says nothing twice.",
            target="grpokit_example_reward.rewards:distinct",
            config="grpokit_example_reward.rewards:DistinctConfig",
        )
    ]


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    return [files("grpokit_example_reward") / "recipes"]

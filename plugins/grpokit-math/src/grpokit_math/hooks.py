"""What this plugin registers. It names code and imports none of it but lists of names."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import DatasetSpec, PromptSpec, RewardSpec, hookimpl
from grpokit_math.datasets.specs import DATASETS
from grpokit_math.rewards.specs import REWARDS
from grpokit_math.templates.specs import PROMPTS

GRPOKIT_HOOK_API = 1


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return REWARDS


@hookimpl
def grpokit_datasets() -> Iterable[DatasetSpec]:
    return DATASETS


@hookimpl
def grpokit_prompts() -> Iterable[PromptSpec]:
    return PROMPTS


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    return [files("grpokit_math") / "recipes"]

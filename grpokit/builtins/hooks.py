"""Core's own components, registered exactly as a stranger's plugin registers its own."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources.abc import Traversable
from pathlib import Path

from grpokit.api import AlgorithmSpec, CallbackSpec, DatasetSpec, PromptSpec, RewardSpec, hookimpl
from grpokit.builtins import (
    advantage_parts,
    algorithms,
    further,
    loss_parts,
    prompts,
    steered,
    step_parts,
)
from grpokit.builtins.callbacks import specs as callbacks
from grpokit.builtins.datasets import specs as datasets
from grpokit.builtins.rewards import specs as rewards


@hookimpl
def grpokit_datasets() -> Iterable[DatasetSpec]:
    return datasets.SPECS


@hookimpl
def grpokit_prompts() -> Iterable[PromptSpec]:
    return prompts.SPECS


@hookimpl
def grpokit_rewards() -> Iterable[RewardSpec]:
    return rewards.SPECS


@hookimpl
def grpokit_algorithms() -> Iterable[AlgorithmSpec]:
    return (
        *algorithms.SPECS,
        *step_parts.SPECS,
        *advantage_parts.SPECS,
        *loss_parts.SPECS,
        *steered.SPECS,
        *further.SPECS,
    )


@hookimpl
def grpokit_callbacks() -> Iterable[CallbackSpec]:
    return callbacks.SPECS


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    """The wheel carries the recipes inside the package; in a checkout they stand beside it."""
    package = Path(__file__).parents[1]
    folders = [package / "recipes", package.parent / "recipes"]
    return [folder for folder in folders if folder.is_dir()][:1]

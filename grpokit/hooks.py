"""The hook specifications: everything a plugin can tell grpokit.

Hooks register and never run: they return specs, which are pure data. Installing a plugin
changes no run whose recipe does not name it. An implementation looks like this:

    from grpokit.api import RewardSpec, hookimpl

    @hookimpl
    def grpokit_rewards():
        return [RewardSpec(name="polite", summary="...", target="my_pkg.rewards:polite")]

and the distribution names the module in its entry points:

    [project.entry-points.grpokit]
    my-plugin = "my_pkg.hooks"
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources.abc import Traversable

import pluggy

from grpokit.spec.components import (
    AlgorithmSpec,
    BackendSpec,
    CallbackSpec,
    CommandSpec,
    DatasetSpec,
    ModelSpec,
    PromptSpec,
    RewardSpec,
    StepBenchSpec,
)

__all__ = ["HOOK_NAMES", "hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("grpokit")
hookimpl = pluggy.HookimplMarker("grpokit")


@hookspec
def grpokit_datasets() -> Iterable[DatasetSpec]:
    """Data sets that a recipe can name under ``dataset:`` and ``eval.dataset:``."""
    raise NotImplementedError


@hookspec
def grpokit_prompts() -> Iterable[PromptSpec]:
    """Prompt templates that a recipe can name under ``prompt.use``."""
    raise NotImplementedError


@hookspec
def grpokit_rewards() -> Iterable[RewardSpec]:
    """Rewards that a recipe can name under ``rewards:``."""
    raise NotImplementedError


@hookspec
def grpokit_algorithms() -> Iterable[AlgorithmSpec]:
    """Named algorithms for ``algorithm.use`` and single parts for ``algorithm.parts``."""
    raise NotImplementedError


@hookspec
def grpokit_backends() -> Iterable[BackendSpec]:
    """Runtimes that hold the model: ``backend.use``."""
    raise NotImplementedError


@hookspec
def grpokit_models() -> Iterable[ModelSpec]:
    """Models with a name of their own: where their weights come from and how to bring them."""
    raise NotImplementedError


@hookspec
def grpokit_callbacks() -> Iterable[CallbackSpec]:
    """Observers of a run: ``callbacks:``."""
    raise NotImplementedError


@hookspec
def grpokit_commands() -> Iterable[CommandSpec]:
    """Further sub-commands of ``grpokit``."""
    raise NotImplementedError


@hookspec
def grpokit_recipes() -> Iterable[Traversable]:
    """Folders with ``*.yaml`` recipes; they are named ``plugin/stem``."""
    raise NotImplementedError


@hookspec
def grpokit_step_benches() -> Iterable[StepBenchSpec]:
    """Contestants of ``grpokit bench step``: trainers whose step can be measured."""
    raise NotImplementedError


HOOK_NAMES = (
    "grpokit_datasets",
    "grpokit_prompts",
    "grpokit_rewards",
    "grpokit_algorithms",
    "grpokit_backends",
    "grpokit_models",
    "grpokit_callbacks",
    "grpokit_commands",
    "grpokit_recipes",
    "grpokit_step_benches",
)

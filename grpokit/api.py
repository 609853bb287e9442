"""The one module that plugins import. Importing it never imports torch.

Data and contracts are here at once. Tensor functions (``algorithms``), the cache of catalogued
models (``models``) and what needs pydantic (``Config``, ``Recipe``) are found on first use, so
that a hook module costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grpokit.errors import (
    CheckpointError,
    ComponentError,
    GrpokitError,
    Interrupted,
    NonFiniteError,
    OutOfMemoryError,
    PreflightError,
)
from grpokit.hooks import hookimpl
from grpokit.spec.components import (
    HOOK_API,
    AlgorithmSpec,
    BackendSpec,
    CallbackSpec,
    CommandSpec,
    DatasetSpec,
    ModelSpec,
    RewardSpec,
)
from grpokit.spec.contracts import (
    Algorithm,
    Callback,
    Dataset,
    LossFunction,
    Preflight,
    Problem,
    Score,
    ShouldStop,
    StepBackend,
)
from grpokit.spec.flow import (
    Advantages,
    Completion,
    LossInputs,
    LossOutputs,
    LossTotals,
    Message,
    Prompt,
    Rollout,
    Sampling,
    ScoreFailure,
    Scores,
    Selection,
    StepRecord,
    Update,
)
from grpokit.spec.rewards import reward
from grpokit.spec.seeds import derive_seed

if TYPE_CHECKING:
    from grpokit import algorithms
    from grpokit.registry import models
    from grpokit.spec.config import Config
    from grpokit.spec.recipe import Recipe

__all__ = [
    "HOOK_API",
    "Advantages",
    "Algorithm",
    "AlgorithmSpec",
    "BackendSpec",
    "Callback",
    "CallbackSpec",
    "CheckpointError",
    "CommandSpec",
    "Completion",
    "ComponentError",
    "Config",
    "Dataset",
    "DatasetSpec",
    "GrpokitError",
    "Interrupted",
    "LossFunction",
    "LossInputs",
    "LossOutputs",
    "LossTotals",
    "Message",
    "ModelSpec",
    "NonFiniteError",
    "OutOfMemoryError",
    "Preflight",
    "PreflightError",
    "Problem",
    "Prompt",
    "Recipe",
    "RewardSpec",
    "Rollout",
    "Sampling",
    "Score",
    "ScoreFailure",
    "Scores",
    "Selection",
    "ShouldStop",
    "StepBackend",
    "StepRecord",
    "Update",
    "algorithms",
    "derive_seed",
    "hookimpl",
    "models",
    "reward",
]

_LATER = {
    "Config": "grpokit.spec.config:Config",
    "Recipe": "grpokit.spec.recipe:Recipe",
    "algorithms": "grpokit.algorithms",
    "models": "grpokit.registry.models",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LATER[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found

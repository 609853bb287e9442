"""The one module that plugins import. Importing it never imports torch.

Data and contracts are here at once; tensor functions (``algorithms``) and the cache
of catalogued models (``models``) are found on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grpokit.errors import (
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
from grpokit.spec.config import Config
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
from grpokit.spec.recipe import Recipe
from grpokit.spec.seeds import derive_seed

if TYPE_CHECKING:
    from grpokit import algorithms
    from grpokit.registry import models

__all__ = [
    "HOOK_API",
    "Advantages",
    "Algorithm",
    "AlgorithmSpec",
    "BackendSpec",
    "Callback",
    "CallbackSpec",
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
]

_LATER = {"algorithms": "grpokit.algorithms", "models": "grpokit.registry.models"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return import_module(_LATER[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

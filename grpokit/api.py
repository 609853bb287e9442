"""The one module that plugins import. Importing it never imports torch.

Data and contracts are here at once. Tensor functions (``algorithms``), the cache of catalogued
models (``models``), the readers of answers (``last_boxed``, ``parse_number``), patterns in linear time (``compile_pattern``)
and what needs pydantic (``Config``, ``Recipe``) are found on first use, so that a hook module costs next to nothing.
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
    RewardError,
    RowError,
    error_as_data,
    error_from_data,
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
    PromptSpec,
    RewardSpec,
    StepBenchSpec,
)
from grpokit.spec.contracts import (
    Algorithm,
    Announces,
    Callback,
    Dataset,
    DrawsAhead,
    Feed,
    LoopBackend,
    LossFunction,
    Measures,
    Preflight,
    Problem,
    Score,
    ShouldStop,
    StepBackend,
    Task,
    Walk,
)
from grpokit.spec.memory import PACKED_4BIT, SHARDED, MemoryFacts, SamplerMemory
from grpokit.spec.rewards import reward, seconds_left
from grpokit.spec.seeds import derive_seed

if TYPE_CHECKING:
    from grpokit import algorithms
    from grpokit.answers.normal import normal_answer
    from grpokit.answers.numbers import last_number
    from grpokit.answers.parse import parse_number
    from grpokit.answers.until import CLOSING, answered
    from grpokit.answers.wrappers import (
        has_boxed,
        last_boxed,
        last_hash,
        last_tag,
        strip_thinking,
    )
    from grpokit.builtins.rewards.linear import compile_pattern
    from grpokit.registry import models
    from grpokit.spec.config import Config
    from grpokit.spec.export import ExportRequest, ExportResult
    from grpokit.spec.flow import (
        Advantages,
        Allocation,
        Completion,
        Continuation,
        Draw,
        Gathered,
        LossInputs,
        LossOutputs,
        LossTotals,
        Measurement,
        Message,
        Outcome,
        Prompt,
        Resets,
        Rollout,
        Sampling,
        ScoreFailure,
        Scores,
        Selection,
        StepRecord,
        Until,
        Update,
        Wanted,
    )
    from grpokit.spec.recipe import Recipe
    from grpokit.spec.sampling import sampling_of
    from grpokit.spec.stepwork import StepWatch, StepWork

__all__ = [
    "CLOSING",
    "HOOK_API",
    "PACKED_4BIT",
    "SHARDED",
    "Advantages",
    "Algorithm",
    "AlgorithmSpec",
    "Allocation",
    "Announces",
    "BackendSpec",
    "Callback",
    "CallbackSpec",
    "CheckpointError",
    "CommandSpec",
    "Completion",
    "ComponentError",
    "Config",
    "Continuation",
    "Dataset",
    "DatasetSpec",
    "Draw",
    "DrawsAhead",
    "ExportRequest",
    "ExportResult",
    "Feed",
    "Gathered",
    "GrpokitError",
    "Interrupted",
    "LoopBackend",
    "LossFunction",
    "LossInputs",
    "LossOutputs",
    "LossTotals",
    "Measurement",
    "Measures",
    "MemoryFacts",
    "Message",
    "ModelSpec",
    "NonFiniteError",
    "OutOfMemoryError",
    "Outcome",
    "Preflight",
    "PreflightError",
    "Problem",
    "Prompt",
    "PromptSpec",
    "Recipe",
    "Resets",
    "RewardError",
    "RewardSpec",
    "Rollout",
    "RowError",
    "SamplerMemory",
    "Sampling",
    "Score",
    "ScoreFailure",
    "Scores",
    "Selection",
    "ShouldStop",
    "StepBackend",
    "StepBenchSpec",
    "StepRecord",
    "StepWatch",
    "StepWork",
    "Task",
    "Until",
    "Update",
    "Walk",
    "Wanted",
    "algorithms",
    "answered",
    "compile_pattern",
    "derive_seed",
    "error_as_data",
    "error_from_data",
    "has_boxed",
    "hookimpl",
    "last_boxed",
    "last_hash",
    "last_number",
    "last_tag",
    "models",
    "normal_answer",
    "parse_number",
    "reward",
    "sampling_of",
    "seconds_left",
    "strip_thinking",
]

_FLOW = (
    "Advantages",
    "Allocation",
    "Completion",
    "Continuation",
    "Draw",
    "Gathered",
    "LossInputs",
    "LossOutputs",
    "LossTotals",
    "Measurement",
    "Message",
    "Outcome",
    "Prompt",
    "Resets",
    "Rollout",
    "Sampling",
    "ScoreFailure",
    "Scores",
    "Selection",
    "StepRecord",
    "Until",
    "Update",
    "Wanted",
)
_LATER = {
    "Config": "grpokit.spec.config:Config",
    "ExportRequest": "grpokit.spec.export:ExportRequest",
    "ExportResult": "grpokit.spec.export:ExportResult",
    "Recipe": "grpokit.spec.recipe:Recipe",
    "StepWatch": "grpokit.spec.stepwork:StepWatch",
    "StepWork": "grpokit.spec.stepwork:StepWork",
    "algorithms": "grpokit.algorithms",
    "compile_pattern": "grpokit.builtins.rewards.linear:compile_pattern",
    "CLOSING": "grpokit.answers.until:CLOSING",
    "answered": "grpokit.answers.until:answered",
    "has_boxed": "grpokit.answers.wrappers:has_boxed",
    "last_boxed": "grpokit.answers.wrappers:last_boxed",
    "last_hash": "grpokit.answers.wrappers:last_hash",
    "last_number": "grpokit.answers.numbers:last_number",
    "last_tag": "grpokit.answers.wrappers:last_tag",
    "models": "grpokit.registry.models",
    "normal_answer": "grpokit.answers.normal:normal_answer",
    "parse_number": "grpokit.answers.parse:parse_number",
    "sampling_of": "grpokit.spec.sampling:sampling_of",
    "strip_thinking": "grpokit.answers.wrappers:strip_thinking",
    **{name: f"grpokit.spec.flow:{name}" for name in _FLOW},
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LATER[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found

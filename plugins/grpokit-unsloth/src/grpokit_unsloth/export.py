"""Export of a run: as `hf` does it, and what a run in 4 bits must be told."""

from __future__ import annotations

from dataclasses import replace

from grpokit.api import ExportRequest, ExportResult
from grpokit_hf.export import weights
from grpokit_unsloth.config import UnslothConfig

__all__ = ["export_weights"]

ROUNDED = (
    "training and its evaluations computed with the base model rounded to 4 bits; what is written here "
    "has it unrounded, and may answer a little differently: measure it again before you give a number"
)


def export_weights(request: ExportRequest) -> ExportResult:
    """Merges with the base's own files, which are in 16 or 32 bits, never with weights in 4.

    Raises:
        PreflightError: the base's files are quantised, or type or form does not fit.
        CheckpointError: there is no room, or the proof fails.
    """
    result = weights.export_weights(request)
    settings = UnslothConfig.model_validate(request.recipe.backend.with_)
    if not settings.load_in_4bit:
        return result
    request.say(ROUNDED)
    notes = [*result.proof.get("notes", ()), ROUNDED]
    return replace(result, proof={**result.proof, "notes": notes})

"""Weights that leave grpokit: what a backend is asked for, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from grpokit.spec.flow import Message
    from grpokit.spec.recipe import Recipe

__all__ = ["ExportRequest", "ExportResult", "Form"]

Form = Literal["merged", "adapter", "gguf"]


def _silent(_: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What a backend is asked to write.

    Attributes:
        recipe: of the run.
        policy: folder that the backend's ``save_policy`` wrote.
        out: empty folder to fill; whoever asks renames it once everything is proved.
        form: ``merged`` (a whole model folder), ``adapter`` (PEFT), ``gguf`` (one file).
        type: of the written numbers (``bfloat16``, ``q8_0``, ...); empty for the default.
        name: stem of a file that needs a name.
        prompts: conversations on which the proof compares the models.
        say: takes a line about progress.
        poll: raises when the user wants to stop; called between the stages.
    """

    recipe: Recipe
    policy: Path
    out: Path
    form: Form
    type: str = ""
    name: str = "model"
    prompts: tuple[tuple[Message, ...], ...]
    say: Callable[[str], None] = _silent
    poll: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written, and what was measured on it after reading it back from the disk.

    Attributes:
        files: names below ``out``.
        proof: measured numbers, as JSON; ``lines`` in it are sentences for people.
        about: facts of the model for its card: base model, type, architecture, end of turn, versions.
        usage: code that loads the result.
    """

    files: tuple[str, ...]
    proof: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    usage: str = ""

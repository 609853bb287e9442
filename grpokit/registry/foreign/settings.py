"""What may stand under ``with:`` of a foreign reward."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from grpokit.spec.config import Config

__all__ = ["ReasoningGymSettings", "TrlSettings", "VerifiersSettings", "VerlSettings"]

Said = Literal["auto", "text", "messages"]


class TrlSettings(Config):
    """A function of TRL."""

    completions: Said = "auto"
    """What it sees as `completions` and `prompts`: text, or lists of messages. `auto`: messages where its code looks for `content`."""


class VerlSettings(Config):
    """A function of verl."""

    data_source: str = ""
    """Its `data_source` where the row has no column of this name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of every call (`reward_kwargs` in verl)."""


class VerifiersSettings(Config):
    """A function or taskset of verifiers has no settings."""


class ReasoningGymSettings(Config):
    """A task of Reasoning Gym."""

    answer: Literal["tag", "boxed", "hash", "whole"] = "tag"
    r"""Where the answer stands in a completion: `<answer>`, `\boxed{}`, `####`, or all of it."""

"""What a model can read: prompt and completion lie within the positions it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from grpokit.api import PreflightError, Prompt, Sampling

__all__ = ["check_window", "window"]


def window(model: Any) -> float:
    """Positions that ``model`` was trained on; infinity where it does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or math.inf


def check_window(
    model: Any, prompts: Sequence[Prompt], ids: Sequence[tuple[int, ...]], sampling: Sampling
) -> None:
    """Names the longest prompt where it does not fit ``model`` with its completion.

    Raises:
        PreflightError: it does not.
    """
    limit = window(model)
    longest = max(range(len(ids)), key=lambda p: len(ids[p]), default=None)
    if longest is None or len(ids[longest]) + sampling.max_tokens <= limit:
        return
    raise PreflightError(
        f"a prompt of {len(ids[longest])} tokens and {sampling.max_tokens} new ones exceed "
        f"the {limit} positions of the model",
        place=f"data set row {prompts[longest].index}",
        remedy=f"set rollout.max_prompt_tokens: {max(1, int(limit) - sampling.max_tokens)} "
        "with on_long_prompt: drop, or fewer new tokens",
    )

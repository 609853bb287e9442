"""A box, whatever stands in it."""

from __future__ import annotations

from grpokit.api import last_boxed, strip_thinking

__all__ = ["boxed_format"]


def boxed_format(completion: str) -> float:
    r"""1 for a ``\boxed{...}`` that is closed and not empty, outside of thinking blocks, else 0.

    The second reward of the common recipe for Qwen models, where it has weight 0.1 beside an accuracy
    of weight 1. A thinking block that is still open has no answer, so no box counts.
    """
    text = strip_thinking(completion)
    return float(text is not None and last_boxed(text) is not None)

"""What a comparison says."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Gate", "Stage", "Unreadable", "Verdict"]

Stage = Literal["none", "text", "number", "set", "symbolic", "gate", "timeout", "error"]


class Verdict(NamedTuple):
    """Whether an answer is right, and which stage said so.

    ``none``: there was no answer. ``text``, ``number`` and ``set`` (tuples, intervals, matrices too) are
    exact and need no other process. ``symbolic`` compares expressions. ``gate`` (too costly to look
    at), ``timeout`` and ``error`` are wrong answers that should be counted.
    """

    correct: bool
    stage: Stage
    detail: str = ""


class Gate(Exception):
    """The comparison would cost too much."""


class Unreadable(Exception):
    """The text is no formula of this grammar."""

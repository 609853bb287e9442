r"""Whether a completion that may go on holds its answer already.

A file of its own: how a reward reads a finished completion is another matter, and its source hash stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from grpokit.answers.wrappers import last_hash, last_tag, strip_thinking

if TYPE_CHECKING:
    from grpokit.spec.flow import Until

__all__ = ["CLOSING", "answered"]

CLOSING: dict[Until, str] = {"boxed": "}", "answer": ">", "hash": "\n"}
"""The character with which an answer becomes complete, by the way it is written."""
_BOX = re.compile(r"\\(?:boxed|fbox)[ \t\n]*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def answered(text: str, until: Until) -> bool:
    r"""Whether a completion that may go on holds its answer already: a complete, non-empty wrapper.

    Thinking does not count. ``\boxed 5`` is not complete, because ``\boxed 52`` may come of it; nor is a
    line after ``####`` before its end. A box within an open box waits for that one.
    """
    rest = strip_thinking(text)
    if rest is None:
        return False
    if until == "boxed":
        return _closed_box(rest)
    if until == "answer":
        return last_tag(rest, "answer") is not None
    return last_hash(rest[: rest.rfind("\n") + 1]) is not None


def _closed_box(text: str) -> bool:
    """Whether the first box with braces and something in it is closed."""
    position = 0
    while found := _BOX.search(text, position):
        end = _closing(text, found.end())
        if end is None:
            return False
        if text[found.end() : end].strip():
            return True
        position = end
    return False


def _closing(text: str, position: int) -> int | None:
    """Where the brace closes that was opened right before ``position``."""
    depth = 1
    for found in _BRACE.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    return None

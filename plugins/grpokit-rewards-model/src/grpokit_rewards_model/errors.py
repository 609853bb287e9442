"""The error of a request, and text of a server made fit to be shown."""

from __future__ import annotations

from grpokit.api import GrpokitError

__all__ = ["JudgeError", "shown"]

SHOWN = 200
"""Characters of a server's text that a message quotes."""


class JudgeError(GrpokitError):
    """One completion has no verdict. The scorer makes it a failure of this row, never a 0."""


def shown(text: str, secret: str) -> str:
    """On one line, short, without control characters and without the key."""
    if secret:
        text = text.replace(secret, "***")
    words = "".join(c if c.isprintable() else " " for c in text[: 20 * SHOWN]).split()
    line = " ".join(words)
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."

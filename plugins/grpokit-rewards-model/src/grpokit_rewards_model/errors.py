"""The error of a request, and text of a server made fit to be shown."""

from __future__ import annotations

from grpokit.api import GrpokitError

__all__ = ["JudgeError", "shown"]

SHOWN = 200
"""Characters of a server's text that a message quotes."""


class JudgeError(GrpokitError):
    """One completion has no verdict. The scorer makes it a failure of this row, never a 0."""


def shown(text: str, secret: str, *, end: bool = False) -> str:
    """Its beginning, or its end: on one line, without control characters and without the key."""
    if secret:  # before anything is cut: half a key is a secret, too
        text = text.replace(secret, "***")
    part = text[-20 * SHOWN :] if end else text[: 20 * SHOWN]
    line = " ".join("".join(c if c.isprintable() else " " for c in part).split())
    if len(line) <= SHOWN:
        return line
    return "..." + line[-SHOWN:] if end else line[:SHOWN] + "..."

"""The place in the tokens that a reader has reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpokit_math.verify.tokens import Token
from grpokit_math.verify.verdict import Unreadable

__all__ = ["Cursor"]


class Cursor:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.bars = 0
        self.depth = 0

    def word(self) -> Any:
        """The value of the next token, unless it is a number, a name or a word."""
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind in ("op", "cmd") or (
                token.kind in ("word", "run") and token.value in ("and", "or")
            ):
                return token.value
        return None

    def token(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, *values: str) -> str | None:
        found = self.word()
        if found in values and found is not None:
            self.position += 1
            return str(found)
        return None

    def need(self, *values: str) -> str:
        found = self.take(*values)
        if found is None:
            raise Unreadable(f"no {values[0]!r}")
        return found

    def degree(self) -> bool:
        if self.take("circ"):
            return True
        values = [token.value for token in self.tokens[self.position : self.position + 3]]
        if values == ["{", "circ", "}"]:
            self.position += 3
            return True
        return False

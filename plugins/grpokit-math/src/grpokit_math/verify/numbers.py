r"""Numbers in a formula: ``52_8``, ``3 1/2``, the digits of ``\frac12``; matrices."""

from __future__ import annotations

from fractions import Fraction

from grpokit_math.verify.commands import BASES
from grpokit_math.verify.cursor import Cursor
from grpokit_math.verify.node import Node
from grpokit_math.verify.tokens import Token
from grpokit_math.verify.verdict import Unreadable

__all__ = ["Numbers"]


class Numbers(Cursor):
    """Reads what begins with a number; the grammar gives the arguments of commands."""

    def argument(self, *, signed: bool = False, whole: bool = False) -> Node:
        raise NotImplementedError

    def fraction(self) -> Node:
        raise NotImplementedError

    def sum(self) -> Node:
        raise NotImplementedError

    def number(self, token: Token) -> Node:
        self.position += 1
        value = token.value
        assert isinstance(value, Fraction)
        following = self.token()
        if following is not None and following.value == "_" and value.denominator == 1:
            self.position += 1
            return ("base", int(value), self.base())
        if value.denominator == 1 and following is not None:
            return self.mixed(value, following)
        return ("num", value)

    def base(self) -> Node:
        r"""The base behind ``_``: a number, also in words."""
        parts = self.tokens[self.position : self.position + 3]
        braces = len(parts) == 3 and (parts[0].value, parts[2].value) == ("{", "}")
        token = parts[1] if braces else self.token()
        if token is None or token.kind not in ("word", "run") or token.value not in BASES:
            return self.argument(whole=True)
        self.position += 3 if braces else 1
        return ("num", Fraction(BASES[str(token.value)]))

    def mixed(self, value: Fraction, following: Token) -> Node:
        r"""``3 1/2`` and ``1\frac{4}{5}``: a whole number and a proper fraction of integers."""
        if following.value == "frac":
            start = self.position
            self.position += 1
            part = self.fraction()
            if part[0] == "div" and part[1][0] == part[2][0] == "num":
                above, below = part[1][1], part[2][1]
                if above.denominator == below.denominator == 1 and 0 < above < below:
                    return ("num", value + above / below)
            self.position = start
            return ("num", value)
        parts = self.tokens[self.position : self.position + 3]
        if len(parts) == 3 and parts[1].value == "/" and parts[0].gap:
            above, below = parts[0].value, parts[2].value
            if isinstance(above, Fraction) and isinstance(below, Fraction) and 0 < above < below:
                self.position += 3
                return ("num", value + above / below)
        return ("num", value)

    def digit(self, token: Token, *, whole: bool) -> Node:
        value = token.value
        assert isinstance(value, Fraction)
        if whole or value.denominator != 1 or value < 10:
            self.position += 1
            return ("num", value)
        head, rest = str(value)[0], str(value)[1:]
        tail = Token("num", Fraction(int(rest)))
        self.tokens = [*self.tokens[: self.position], tail, *self.tokens[self.position + 1 :]]
        return ("num", Fraction(int(head)))

    def columns(self) -> None:
        """The columns of an array, such as ``{cc}``."""
        self.need("{")
        while (token := self.token()) is not None and token.value != "}":
            self.position += 1
        self.need("}")

    def matrix(self, kind: str) -> Node:
        if kind == "array":
            self.columns()
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.take(f"end {kind}"):
                break
            row.append(self.sum())
            if self.take("&"):
                continue
            rows.append(tuple(row))
            row = []
            if not self.take("\\\\"):
                self.need(f"end {kind}")
                break
        if not rows or any(len(each) != len(rows[0]) for each in rows):
            raise Unreadable("rows of several lengths")
        if kind == "vmatrix" and len(rows) != len(rows[0]):
            raise Unreadable("a determinant that is not square")
        return ("matrix", "det" if kind == "vmatrix" else "matrix", tuple(rows))

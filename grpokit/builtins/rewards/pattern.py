r"""The syntax of the patterns that ``linear`` matches: text in, a small tree out.

Supported: literals, ``.``, classes ``[a-z]`` ``[^...]``, ``\d \w \s \D \W \S \n \t \r`` and escaped
punctuation, groups, ``|``, ``* + ? {m,n}`` (also with a lazy ``?``, which changes nothing about whether
something matches), ``^`` and ``$`` (start and very end of the text), ``(?s)`` and ``(?i)`` in front.
Refused with the reason: backreferences, look-around, ``\b``, possessive and atomic parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Edge", "Either", "One", "Part", "Repeat", "Row", "parse_pattern"]

Test = Callable[[str], bool]
DEEPEST = 50


@dataclass(frozen=True)
class One:
    """One character that passes a test."""

    test: Test


@dataclass(frozen=True)
class Edge:
    """The start or the end of the text."""

    at_start: bool


@dataclass(frozen=True)
class Row:
    """Parts one after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Either:
    """One of the parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Repeat:
    """A part ``least`` to ``most`` times; ``most`` None is without limit."""

    part: Part
    least: int
    most: int | None


Part = One | Edge | Row | Either | Repeat

CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
    "D": lambda char: not char.isdecimal(),
    "W": lambda char: not (char.isalnum() or char == "_"),
    "S": lambda char: not char.isspace(),
}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse_pattern(pattern: str) -> Part:
    """The tree of a pattern.

    Raises:
        ValueError: it is malformed or uses what is not supported; names the position.
    """
    return _Parser(pattern).parse()


class _Parser:
    """Recursive descent."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0
        self.any_char: Test = lambda char: char != "\n"
        self.fold = False

    def parse(self) -> Part:
        self._flags()
        part = self._either()
        if self._peek():
            raise self._error("a ) was not opened")
        return part

    def _flags(self) -> None:
        for length in (5, 4):
            flags = self.pattern[:length]
            if flags in ("(?s)", "(?i)", "(?si)", "(?is)"):
                self.position = length
                self.fold = "i" in flags
                if "s" in flags:
                    self.any_char = lambda _char: True
                return

    def _either(self) -> Part:
        parts = [self._row()]
        while self._take("|"):
            parts.append(self._row())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _row(self) -> Part:
        parts: list[Part] = []
        while self._peek() not in ("", "|", ")"):
            part = self._atom()
            while (bounds := self._quantifier()) is not None:
                part = Repeat(part, *bounds)
            parts.append(part)
        return Row(tuple(parts))

    def _quantifier(self) -> tuple[int, int | None] | None:
        char = self._peek()
        bounds = QUANTIFIERS.get(char)
        if bounds is not None:
            self.position += 1
        elif char == "{":
            bounds = self._bounds()
        if bounds is None:
            return None
        if self._peek() == "+":
            raise self._error("possessive quantifiers are not supported")
        self._take("?")
        return bounds

    def _bounds(self) -> tuple[int, int | None] | None:
        """``{3}``, ``{2,}``, ``{,4}``, ``{2,4}``; any other ``{`` is a literal."""
        end = self.pattern.find("}", self.position)
        low, comma, high = self.pattern[self.position + 1 : max(end, 0)].partition(",")
        numbers = [number for number in (low, high) if number]
        if not numbers or not all(n.isascii() and n.isdecimal() and len(n) < 5 for n in numbers):
            return None
        least = int(low or "0")
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            raise self._error("the bounds of a {m,n} are the wrong way round")
        self.position = end + 1
        return least, most

    def _atom(self) -> Part:
        char = self._peek()
        self.position += 1
        if char == "(":
            return self._group()
        if char in QUANTIFIERS:
            raise self._error(f"{char} has nothing to repeat")
        if char in ("^", "$"):
            return Edge(char == "^")
        if char == ".":
            return One(self.any_char)
        if char == "[":
            return One(self._class())
        return One(self._escape() if char == "\\" else self._literal(char))

    def _group(self) -> Part:
        if self._take("?"):
            if self._take("P<"):
                self.position = self.pattern.find(">", self.position) + 1
                if not self.position:
                    raise self._error("the name of a group is not closed")
            elif not self._take(":"):
                raise self._error("look-around, inner flags and atomic groups are not supported")
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(f"groups are nested more than {DEEPEST} deep")
        part = self._either()
        self.depth -= 1
        if not self._take(")"):
            raise self._error("a ( is not closed")
        return part

    def _escape(self) -> Test:
        char = self._peek()
        self.position += 1
        if char in CLASSES:
            return CLASSES[char]
        if char not in ESCAPES and (not char or char.isalnum()):
            raise self._error(f"\\{char} is not supported")
        return self._literal(ESCAPES.get(char, char))

    def _literal(self, literal: str) -> Test:
        if self.fold:
            folded = literal.lower()
            return lambda char: char.lower() == folded
        return lambda char: char == literal

    def _class(self) -> Test:
        negated = self._take("^")
        tests: list[Test] = []
        while self._peek() != "]" or not tests:
            low = self._class_char()
            if not isinstance(low, str):
                tests.append(low)
            elif self._peek() == "-" and self.pattern[self.position + 1 : self.position + 2] != "]":
                self.position += 1
                high = self._class_char()
                if not isinstance(high, str) or high < low:
                    raise self._error("a range in [...] is the wrong way round")
                tests.append(self._range(low, high))
            else:
                tests.append(self._literal(low))
        self.position += 1
        if negated:
            return lambda char: not any(test(char) for test in tests)
        return lambda char: any(test(char) for test in tests)

    def _range(self, low: str, high: str) -> Test:
        if self.fold:
            return lambda char: low <= char.lower() <= high or low <= char.upper() <= high
        return lambda char: low <= char <= high

    def _class_char(self) -> str | Test:
        char = self._peek()
        self.position += 1
        if not char:
            raise self._error("a [ is not closed")
        if char != "\\":
            return char
        escaped = self._peek()
        self.position += 1
        if escaped in CLASSES:
            return CLASSES[escaped]
        if escaped.isalnum() and escaped not in ESCAPES:
            raise self._error(f"\\{escaped} is not supported")
        return ESCAPES.get(escaped, escaped)

    def _peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def _take(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.position):
            return False
        self.position += len(text)
        return True

    def _error(self, fact: str) -> ValueError:
        return ValueError(f"{fact} (at character {self.position} of the pattern)")

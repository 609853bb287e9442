r"""Text to tokens, in one pass. Two answers with the same tokens are the same text.

Spaces, ``\left``, ``\,``, fonts, markdown and maths delimiters leave nothing behind; ``\dfrac`` is
``\frac``, ``072`` is 72. Digits never grow together: ``4 2`` are two numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple

from grpokit_math.verify.marks import (
    ALIASES,
    FONTS,
    JOIN,
    MONEY,
    NAMED,
    OPERATORS,
    SAME,
    SAME_ASCII,
    SCRIPTS,
    SILENT,
    SILENT_MARKS,
)
from grpokit_math.verify.verdict import Gate

__all__ = ["DEEPEST", "LONGEST", "Kind", "Token", "tokenise"]

LONGEST = 512
DEEPEST = 32
LONGEST_NUMBER = 400
Kind = Literal["num", "var", "run", "word", "cmd", "op", "money"]
Value = str | Fraction


class Token(NamedTuple):
    r"""``gap``: a space stood before it. ``run``: letters outside ``\text``, ``word``: inside."""

    kind: Kind
    value: Value
    gap: bool = False


DISTANCES = ("pt", "em", "ex", "mm", "cm")
BARS = ("\\overline", "\\bar", "\\dot", "(")
DIGITS = frozenset("0123456789")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def tokenise(text: str) -> tuple[Token, ...]:
    """The tokens of an answer.

    Raises:
        Gate: it is longer than 512 characters or nested deeper than 32.
    """
    if len(text) > LONGEST:
        raise Gate(f"longer than {LONGEST} characters")
    if text.isascii():
        text = text.translate(SAME_ASCII)
    else:
        text = text.translate(SAME)
        for mark, written in SCRIPTS:
            text = text.replace(mark, written)
    text = text.replace("{,}", JOIN).replace(",\\!", JOIN).replace("{:}", ":")
    return _Scanner(_plain(text)).run()


def _plain(text: str) -> str:
    """Without markdown, and with a final period, comma or semicolon less. Two periods are an ellipsis."""
    text = text.strip()
    while len(text) > 1 and (text[0] == text[-1] and text[0] in '*_`"'):
        text = text[1:-1].strip()
    text = text.rstrip(" *")
    if text.endswith((".", ",", ";")) and not text.endswith(".."):
        text = text[:-1].rstrip(" *")
    return text


class _Scanner:
    """One pass. ``groups`` remembers whether an open brace is a group or the argument of a font."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.tokens: list[Token] = []
        self.gap = False
        self.groups: list[bool] = []  # True: a brace that was emitted
        self.fonts = 0
        self.depth = 0
        self.brackets = 0
        self.dollars = text.count("$") - text.count("\\$")

    def run(self) -> tuple[Token, ...]:
        text = self.text
        while self.position < len(text):
            char = text[self.position]
            if char == " " or (char == "~" and self.position):
                self.gap = True
                self.position += 1
            elif char in DIGITS or (
                char == "." and text[self.position + 1 : self.position + 2].isdigit()
            ):
                self._number()
            elif char in LETTERS:
                self._letters()
            elif char == "\\":
                self._command()
            else:
                self._mark(char)
        return tuple(self.tokens)

    def emit(self, kind: Kind, value: Value) -> None:
        self.tokens.append(Token(kind, value, self.gap))
        self.gap = False

    def _number(self) -> None:
        """Digits, well-formed groups of digits, a decimal point. ``1,2,3`` stays a list."""
        text, start = self.text, self.position
        end = _digits(text, start)
        whole = text[start:end]
        joined = self._groups(end)
        if joined is not None:
            whole, end = whole + joined[0], joined[1]
        fraction = ""
        if text[end : end + 1] == ".":
            stop = _digits(text, end + 1)
            fraction, end = text[end + 1 : stop], stop
        if len(whole) + len(fraction) > LONGEST_NUMBER:
            raise Gate(f"a number of more than {LONGEST_NUMBER} digits")
        value = Fraction(int((whole + fraction) or "0"), 10 ** len(fraction))
        if text[end - 1] == "." or fraction:
            value, end = self._repeating(value, len(fraction), end)
        if text[end : end + 1] in ("e", "E"):
            sign = end + 1 + (text[end + 1 : end + 2] in ("-", "+"))
            stop = _digits(text, sign)
            if 0 < stop - sign <= 3 and text[stop : stop + 1] not in LETTERS:
                value *= Fraction(10) ** int(text[end + 1 : stop])
                end = stop
        self.position = end
        self.emit("num", value)

    def _repeating(self, value: Fraction, places: int, end: int) -> tuple[Fraction, int]:
        r"""``0.1\overline{6}``, ``0.1\bar6`` and ``0.1(6)`` are 1/6."""
        text = self.text
        mark = next((mark for mark in BARS if text.startswith(mark, end)), None)
        if mark is None:
            return value, end
        start = end + len(mark)
        while text[start : start + 1] == " ":
            start += 1
        if mark == "(" or text[start : start + 1] == "{":
            start += mark != "("
            stop = _digits(text, start)
            if text[stop : stop + 1] != (")" if mark == "(" else "}"):
                return value, end
            after = stop + 1
        else:
            stop = after = min(start + 1, _digits(text, start))
        if stop == start:
            return value, end
        period = Fraction(int(text[start:stop]), 10 ** (stop - start) - 1)
        return value + period / 10**places, after

    def _groups(self, end: int) -> tuple[str, int] | None:
        """The digits of the groups that follow, if the whole run is a well-formed number."""
        text = self.text
        first = end - self.position
        groups: list[str] = []
        marks = set()
        while True:
            mark = text[end : end + 1]
            skip = 1
            if mark == "\\" and text[end + 1 : end + 2] == ",":
                mark, skip = "\\,", 2
            elif mark == JOIN:
                while text[end + skip : end + skip + 1] == " ":
                    skip += 1
            elif mark != ",":
                break
            stop = _digits(text, end + skip)
            if stop == end + skip:
                break
            marks.add(mark)
            groups.append(text[end + skip : stop])
            end = stop
        if not groups or (marks == {","} and self.brackets > 0 and not self.spaced):
            return None
        thousands = 1 <= first <= 3 and all(len(group) == 3 for group in groups)
        indian = (
            len(groups) > 1
            and 1 <= first <= 2
            and len(groups[-1]) == 3
            and all(len(group) == 2 for group in groups[:-1])
        )
        return ("".join(groups), end) if thousands or indian else None

    @property
    def spaced(self) -> bool:
        """Whether commas are followed by spaces, so that those without one belong to numbers."""
        return ", " in self.text

    def _letters(self) -> None:
        text, start = self.text, self.position
        end = start
        while end < len(text) and text[end] in LETTERS:
            end += 1
        run = text[start:end]
        self.position = end
        if run == "x" and self._times_ten():
            self.emit("op", "*")
        elif run == "U" and self._between_brackets():
            self.emit("cmd", "cup")
        elif run in NAMED and not self.fonts:
            name = ALIASES.get(run, run)
            self.emit("cmd", name)
        elif run.endswith("sqrt") and not self.fonts:  # xsqrt(2)
            self.emit("var" if len(run) == 5 else "run", run[:-4])
            self.emit("cmd", "sqrt")
        elif len(run) == 1:
            self.emit("var", run)
        else:
            self.emit("word" if self.fonts else "run", run)

    def _times_ten(self) -> bool:
        """``3.0 x 10^8``."""
        number = bool(self.tokens) and self.tokens[-1].kind == "num"
        return number and self.text[self.position :].lstrip(" ").startswith("10^")

    def _between_brackets(self) -> bool:
        """``(0,1) U (2,3)``."""
        closed = bool(self.tokens) and self.tokens[-1].value in (")", "]")
        return closed and self.text[self.position :].lstrip(" ").startswith(("(", "[", "\\left"))

    def _command(self) -> None:
        text = self.text
        end = self.position + 1
        while end < len(text) and text[end] in LETTERS:
            end += 1
        name = text[self.position + 1 : end]
        if not name:
            self._escaped(text[end : end + 1])
            return
        self.position = end
        if name in FONTS:
            self._font()
        elif name in SILENT:
            self.gap = True
            if (
                self.position < len(text)
                and text[self.position] == "."
                and name in ("left", "right")
            ):
                self.position += 1
        elif name in ("begin", "end"):
            self._environment(name)
        elif name == "cr":
            self._row()
        elif name in MONEY:
            self.emit("money", MONEY[name])
        else:
            self._named(ALIASES.get(name, name))

    def _named(self, name: str) -> None:
        if name in OPERATORS:
            self._bracket(name)
        else:
            self.emit("word" if name in ("and", "or") else "cmd", name)

    def _escaped(self, char: str) -> None:
        self.position += 1 + len(char)
        if char in SILENT_MARKS:
            self.gap = True
        elif char == "$":
            self.emit("money", "dollar")
        elif char in ("{", "}"):
            self._bracket("\\" + char)
        elif char == "\\":
            self._row()
        elif char == "|":
            self.emit("op", "||")
        elif char:
            self.emit("op", char)

    def _row(self) -> None:
        r"""The end of a row, with or without a distance: ``\\[4pt]``."""
        text = self.text
        end = text.find("]", self.position, self.position + 8)
        if end > 0 and text[self.position] == "[" and text[end - 2 : end] in DISTANCES:
            self.position = end + 1
        self.emit("op", "\\\\")

    def _font(self) -> None:
        text = self.text
        while self.position < len(text) and text[self.position] == " ":
            self.position += 1
        if text[self.position : self.position + 1] == "{":
            self.position += 1
            self.groups.append(False)
            self.fonts += 1
            self._deeper()
        self.gap = True

    def _environment(self, name: str) -> None:
        text = self.text
        end = text.find("}", self.position)
        if text[self.position : self.position + 1] == "{" and end > 0:
            self.emit("cmd", f"{name} {text[self.position + 1 : end].rstrip('*')}")
            self.position = end + 1
        else:
            self.emit("cmd", name)

    def _mark(self, char: str) -> None:
        self.position += 1
        if char == "{":
            self.groups.append(True)
            self._deeper()
            self.emit("op", "{")
        elif char == "}":
            if self.groups:
                self.depth -= 1
                if not self.groups.pop():
                    self.fonts -= 1
                    self.gap = True
                    return
            self.emit("op", "}")
        elif char == "$":
            following = self.text[self.position : self.position + 1]
            if (self.dollars % 2 and (following.isdigit() or following in ("-", "."))) or (
                self.dollars % 2 and self.tokens and self.tokens[-1].value == "-"
            ):
                self.emit("money", "dollar")
            else:
                self.gap = True
        elif char == JOIN:
            self.emit("op", ",")
        elif char == "*" and self.text[self.position : self.position + 1] == "*":
            self.position += 1
            self.emit("op", "^")
        else:
            self._bracket(char)

    def _bracket(self, char: str) -> None:
        if char in ("(", "[", "\\{"):
            self.brackets += 1
            self._deeper()
        elif char in (")", "]", "\\}"):
            self.brackets -= 1
            self.depth -= 1
        self.emit("op", char)

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Gate(f"nested deeper than {DEEPEST}")


def _digits(text: str, start: int) -> int:
    end = start
    while end < len(text) and text[end] in DIGITS:
        end += 1
    return end

"""The last number of a text, for models that follow no format."""

from __future__ import annotations

from fractions import Fraction

from grpokit.answers.parse import CURRENCY, DIGITS, SAME, parse_number

__all__ = ["last_number"]

INSIDE = DIGITS + ".,/:"
LONGEST_NUMBER = 420


def last_number(text: str) -> Fraction | None:
    """The last number that stands on its own.

    Digits that belong to a name, an index or an exponent (``H2O``, ``x_2``, ``m^2``) do not count.
    If the last number is a date, a clock time, a list without spaces or the base of a power, there is
    no answer, rather than an earlier number.
    """
    text = text.translate(SAME)
    end = len(text)
    while True:
        stop = _last_digit(text, end)
        if stop < 0:
            return None
        start = stop
        while start > 0 and text[start - 1] in INSIDE:
            start -= 1
        token = text[start : stop + 1].lstrip(",/:")
        start = stop + 1 - len(token)
        if not _belongs_to_name(text, start):
            return _read(text, start, stop + 1)
        end = start


def _last_digit(text: str, end: int) -> int:
    position = end - 1
    while position >= 0 and text[position] not in DIGITS:
        position -= 1
    return position


def _belongs_to_name(text: str, start: int) -> bool:
    before = text[max(0, start - 2) : start]
    return before[-1:].isalpha() or before[-1:] in ("_", "^") or before in ("_{", "^{")


def _read(text: str, start: int, stop: int) -> Fraction | None:
    if stop - start > LONGEST_NUMBER:
        return None
    token = text[start:stop]
    if token.startswith(".") and text[start - 1 : start].isalnum():
        token = token[1:]
    if "/" in token and (text[start - 1 : start] == "/" or token.count("/") > 1):
        return None
    after = text[stop : stop + 2]
    if after[:1] in ("^", "\u00b2", "\u00b3"):
        return None
    # "2**n" is a power, "**42**" is bold.
    behind = text[stop + 2 : stop + 3]
    if after == "**" and (behind.isalnum() or behind == "("):
        return None
    value = parse_number(token)
    return None if value is None else _signed(text, start, value)


def _signed(text: str, start: int, value: Fraction) -> Fraction:
    """A minus sign counts right before the number (or its currency sign), not between two numbers."""
    position = start - 1
    while position >= 0 and text[position] in CURRENCY:
        position -= 1
    if position < 0 or text[position] != "-":
        return value
    before = text[position - 1] if position else " "
    return value if before.isalnum() or before in ")]}%" else -value

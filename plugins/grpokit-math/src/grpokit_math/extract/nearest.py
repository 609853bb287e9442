"""Numbers of models that follow no format: the one behind the word "answer", and no denied one."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal

from grpokit.api import last_number, parse_number

__all__ = ["denied", "nearest"]

WORD = re.compile(r"\banswer\b", re.IGNORECASE)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
END = re.compile(r"\n|[.!?;](?=\s)|\(|\b(?:because|since|as|which)\b", re.IGNORECASE)
NEGATION = re.compile(r"\b(?:not|never|no|neither|nor|cannot)\b|n['\u2019]t\b", re.IGNORECASE)
UNSURE = re.compile(
    r"\b(?:either|between|about|around|approximately|roughly|nearly|almost|maybe|perhaps|under|over|up to"
    r"|at (?:least|most)|(?:less|more|fewer|greater|larger|smaller|higher|lower) than)\b[^\d]*\d|\d[^\d]*\bor\b",
    re.IGNORECASE,
)
DENIED = re.compile(
    r"(?:\b(?:not|never|cannot)|n['\u2019]t)\b(?: (?!but\b)[^\W\d]{1,12}){0,2}[ $\u20ac\u00a3(*{\\]*-?\Z",
    re.IGNORECASE,
)
LONGEST = 200
"""Characters that are looked at behind the word."""


def nearest(
    text: str,
) -> tuple[Fraction | None, Literal["", "missing", "several", "negated"]]:
    """The number of the clause that follows the last "answer" with a number behind it.

    The clause ends with its line or sentence, at a bracket, and before a reason ("because", "since").
    More than one number, a bound or a negation is no answer: "40 or 42", "42 or more", "at least 42" and
    "definitely not 42" earn nothing.
    """
    ends = [match.end() for match in WORD.finditer(text)]
    stop = len(text)
    for start in reversed(ends):
        clause = _clause(text[start : min(stop, start + LONGEST)])
        stop = start
        count = len(NUMBER.findall(clause))
        if count == 0:
            continue
        if NEGATION.search(clause) is not None:
            return None, "negated"
        if UNSURE.search(clause) is not None:
            return None, "several"
        value = parse_number(clause)
        if value is None and count == 1:
            value = last_number(clause)
        return (None, "several") if value is None else (value, "")
    return None, "missing"


def denied(text: str) -> bool:
    """Whether the last number of a text stands right behind a negation: "is not equal to 42"."""
    stop = next((at for at in range(len(text), 0, -1) if text[at - 1].isdigit()), 0)
    start = stop
    while start > 0 and (text[start - 1].isdigit() or text[start - 1] in ".,/:"):
        start -= 1
    return DENIED.search(text[max(0, start - 60) : start]) is not None


def _clause(behind: str) -> str:
    """The first clause, without the colons and marks between the word and it."""
    behind = behind.lstrip(" \t\r\n:*_=")
    end = END.search(behind)
    return (behind if end is None else behind[: end.start()]).strip()

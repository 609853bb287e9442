r"""One answer, read: label and unit taken off, then a formula, or else a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from grpokit_math.verify.grammar import parse
from grpokit_math.verify.node import Node
from grpokit_math.verify.tokens import Token, tokenise
from grpokit_math.verify.units import denies, split_money, split_unit
from grpokit_math.verify.verdict import Unreadable

__all__ = ["Answer", "Key", "key", "read"]

Key = tuple[tuple[str, str | Fraction], ...]
LABEL = frozenset(
    [
        "the",
        "my",
        "final",
        "correct",
        "answer",
        "ans",
        "is",
        "result",
        "so",
        "solution",
        "solutions",
        "are",
        "option",
        "choice",
        "therefore",
        "thus",
        "hence",
        "value",
    ]
)
SHORTEST_TEXT = 3
NO_FACTORS = frozenset("eio")
"""Two small letters are a product, such as xy, but for these: "no" is not "on"."""
LONGEST_LABEL = 4
FIGURES = frozenset(
    (
        "overline",
        "overrightarrow",
        "vec",
        "angle",
        "measuredangle",
        "triangle",
        "{",
        "}",
        "|",
        "[",
        "]",
    )
)
MOST_POINTS = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """``node`` is None for a text. ``key`` is the whole answer as it stands, without its label."""

    key: Key
    node: Node | None
    unit: tuple[str, ...] = ()
    why: str = ""

    def text(self) -> tuple[str, ...]:
        """The words for a comparison of texts; brackets around a single letter do not count."""
        return _words(self.key)


def read(text: str, *, separate: bool = False) -> Answer:
    """Reads an answer. ``separate``: every comma divides, ``1,234`` are two numbers.

    Raises:
        Gate: it is too long or too deep.
    """
    if separate:
        text = text.replace(",", ", ")
    tokens = _without_label(tokenise(text))
    tokens = _without_brackets(tokens)
    whole = key(tokens)
    if _is_text(tokens):
        return Answer(whole, None, why="text")
    head, money = split_money(tokens)
    head, unit = split_unit(head)
    if money and unit[:1] == ("per",):
        unit, money = money + unit, ()
    if unit and money and unit != money:
        return Answer(whole, None, why="two units")
    try:
        node = parse(_without_name(head))
    except Unreadable as problem:
        return Answer(whole, None, why=str(problem))
    unit = unit or money
    if node[0] == "deg":
        if unit:
            return Answer(whole, None, why="two units")
        node, unit = node[1], ("deg",)
    return Answer(whole, node, unit)


def key(tokens: Sequence[Token]) -> Key:
    """What has to be the same for two texts to be the same: spaces never count, digits do not join."""
    kept: list[tuple[str, str | Fraction]] = []
    for index, token in enumerate(tokens):
        if _is_brace_of_one(tokens, index):
            continue
        kind = "run" if token.kind == "word" else token.kind
        kept.append((kind, token.value))
    return tuple(kept)


def _is_brace_of_one(tokens: Sequence[Token], index: int) -> bool:
    r"""A brace around one token: ``\frac{1}{2}`` is ``\frac12``."""
    value = tokens[index].value
    if value == "{":
        inside = tokens[index + 1 : index + 3]
        return len(inside) == 2 and inside[1].value == "}" and _single(inside[0])
    if value == "}":
        inside = tokens[max(0, index - 2) : index]
        return len(inside) == 2 and inside[0].value == "{" and _single(inside[1])
    return False


def _single(token: Token) -> bool:
    value = token.value
    return token.kind == "var" or (
        isinstance(value, Fraction) and value.denominator == 1 and 0 <= value < 10
    )


def _without_label(tokens: Sequence[Token]) -> Sequence[Token]:
    """Without ``Answer:``, ``The answer is``, ``option``; a label alone stays."""
    start = 0
    if len(tokens) > 1 and tokens[0].value in ("=", ":"):
        return tokens[1:]
    while (
        start < len(tokens)
        and tokens[start].kind in ("run", "word")
        and str(tokens[start].value).lower() in LABEL
    ):
        start += 1
    if start == 0 or start == len(tokens):
        return tokens
    if tokens[start].value in (":", "="):
        start += 1
    return tokens[start:] or tokens


def _without_brackets(tokens: Sequence[Token]) -> Sequence[Token]:
    """``(A)`` and ``A)`` are the choice A."""
    values = [token.value for token in tokens]
    if len(values) == 3 and values[0] == "(" and values[2] == ")" and tokens[1].kind == "var":
        return tokens[1:2]
    if len(values) == 2 and values[1] == ")" and tokens[0].kind == "var":
        return tokens[:1]
    return tokens


def _is_text(tokens: Sequence[Token]) -> bool:
    """Words only, or words before numbers (``June 20``): letters that make no product."""
    if not tokens:
        return False
    first = tokens[0]
    if first.kind == "word":
        return not any(token.value == "=" for token in tokens[1 : LONGEST_LABEL + 1])
    if len(tokens) == 1 and first.kind == "run":
        letters = str(first.value)
        return (
            len(letters) >= SHORTEST_TEXT
            or not letters.islower()
            or not NO_FACTORS.isdisjoint(letters)
        )
    words = [token for token in tokens if token.kind in ("run", "word")]
    return len(words) == len(tokens) and any(
        len(str(word.value)) >= SHORTEST_TEXT for word in words
    )


def _without_name(tokens: Sequence[Token]) -> Sequence[Token]:
    r"""Without a name: ``total cost = 36``, ``AB = 5``, ``\angle ABC = 90``.

    One letter stays, it is part of an equation.
    """
    marks = [index for index, token in enumerate(tokens) if token.value == "="]
    if not marks or marks[0] == 0:
        return tokens
    name = tokens[: marks[0]]
    if _is_figure(name):
        return _without_name(tokens[marks[0] + 1 :])
    if len(marks) != 1 or len(name) > LONGEST_LABEL:
        return tokens
    words = [str(token.value) for token in name if token.kind in ("word", "run")]
    plain = all(token.kind in ("word", "run") for token in name)
    if not plain or any(denies(word.lower()) for word in words):
        return tokens
    if len(words) == 1 and len(words[0]) < SHORTEST_TEXT:
        return tokens
    return tokens[marks[0] + 1 :]


def _is_figure(name: Sequence[Token]) -> bool:
    r"""Points in capitals, such as ``AB``, ``\overline{AB}``, ``[ABC]`` or ``m\angle B``."""
    letters = [str(token.value) for token in name if token.kind in ("run", "word", "var")]
    marks = [token.value for token in name if token.kind not in ("run", "word", "var")]
    if any(token.kind == "num" for token in name) or not set(marks) <= FIGURES:
        return False
    if any(denies(letter.lower()) for letter in letters):
        return False
    if "angle" in marks and letters[:1] == ["m"]:
        letters = letters[1:]
    points = "".join(letters)
    return points.isupper() and len(points) <= MOST_POINTS and (len(points) > 1 or "angle" in marks)


def _words(whole: Key) -> tuple[str, ...]:
    words: list[str] = []
    for kind, value in whole:
        text = str(value)
        if words[-1:] == ["."] and len(words) > 1 and text in ("m", "M"):  # p.m.
            words[-2:] = [words[-2].lower() + "m"]
        else:
            words.append(text.lower() if kind in ("run", "var") and len(text) > 1 else text)
    if len(words) > 1 and words[0] in ("a", "an", "the"):
        words = words[1:]
    if len(words) > 1 and words[-1] == "." and whole[-2][0] in ("run", "var"):
        words.pop()
    return tuple(words)

r"""Sets of real numbers as sorted intervals, where every end is rational or infinite.

``x > 3`` is ``(3, \infty)``; ``(0, 1] \cup (1, 2)`` is ``(0, 2)``.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import NamedTuple

from grpokit_math.verify.node import Node
from grpokit_math.verify.ring import Undecided, form, rational
from grpokit_math.verify.verdict import Unreadable

__all__ = ["Interval", "inequality", "intervals", "subject"]

End = Fraction | float
FLIPPED = {"<": ">", ">": "<", "leq": "geq", "geq": "leq"}
INFINITY: Node = ("const", "infty")
INFINITE: dict[Node, float] = {INFINITY: inf, ("neg", INFINITY): -inf}


class Interval(NamedTuple):
    low: End
    open_low: bool
    high: End
    open_high: bool


def inequality(node: Node) -> Node | None:  # noqa: PLR0911  one line a kind
    r"""``x > 3``, ``-2 \le x \le 7``, ``x \ne 3``, ``x \in S`` and several with "or" as a set; None for the rest."""
    if node[0] == "list":
        return _either(node)
    if node[0] != "rel":
        return None
    marks, sides = node[1], node[2]
    if marks == ("in",) and sides[0][0] == "sym":
        return tuple(sides[1])
    if marks == ("neq",) and "sym" in (sides[0][0], sides[1][0]):
        point = sides[1] if sides[0][0] == "sym" else sides[0]
        return ("minus", ("space", "R"), ("set", (point,)))
    if len(marks) == 1 and marks[0] in FLIPPED:
        return _one_sided(marks[0], sides[0], sides[1])
    if len(marks) == 2 and sides[1][0] == "sym":
        return _two_sided(marks[0], marks[1], sides[0], sides[2])
    return None


def subject(node: Node) -> str | None:
    """The variable of an inequality; None if there is none, or several."""
    if node[0] == "list":
        names = {subject(part) for part in node[1]}
        return names.pop() if len(names) == 1 else None
    if node[0] != "rel":
        return None
    return next((side[1] for side in node[2] if side[0] == "sym"), None)


def _either(node: Node) -> Node | None:
    if node[2:] != ("or",) or subject(node) is None:
        return None
    result: Node | None = None
    for part in node[1]:
        found = inequality(part)
        if found is None:
            return None
        result = found if result is None else ("union", result, found)
    return result


def _one_sided(mark: str, left: Node, right: Node) -> Node | None:
    if left[0] != "sym":
        mark, left, right = FLIPPED[mark], right, left
    if left[0] != "sym":
        return None
    if mark in (">", "geq"):
        return ("tuple", "[" if mark == "geq" else "(", (right, INFINITY), ")")
    return ("tuple", "(", (("neg", INFINITY), right), "]" if mark == "leq" else ")")


def _two_sided(first: str, second: str, low: Node, high: Node) -> Node | None:
    if first in (">", "geq") and second in (">", "geq"):
        first, second, low, high = FLIPPED[second], FLIPPED[first], high, low
    if first not in ("<", "leq") or second not in ("<", "leq"):
        return None
    opener, closer = "[" if first == "leq" else "(", "]" if second == "leq" else ")"
    return ("tuple", opener, (low, high), closer)


def intervals(node: Node) -> list[Interval] | None:
    """The set as disjoint intervals in order; None if an end is not rational, or it is no such set."""
    found = _collect(node)
    return None if found is None else _joined(found)


def _collect(node: Node) -> list[Interval] | None:  # noqa: PLR0911  one line a kind
    kind = node[0]
    if kind == "tuple" and len(node[2]) == 2:
        low, high = (_end(part) for part in node[2])
        if low is None or high is None or low > high or (low == high and node[1:4:2] != ("[", "]")):
            return None
        return [Interval(low, node[1] == "(" or low == -inf, high, node[3] == ")" or high == inf)]
    if kind == "space":
        return [Interval(-inf, True, inf, True)] if node[1] == "R" else None
    if kind == "set":
        points = [_end(part) for part in node[1]]
        if any(point is None for point in points):
            return None
        return [Interval(point, False, point, False) for point in points if point is not None]
    if kind == "union":
        first, second = _collect(node[1]), _collect(node[2])
        return None if first is None or second is None else first + second
    if kind == "minus":
        return _without(node)
    return None


def _without(node: Node) -> list[Interval] | None:
    whole, parts = _collect(node[1]), _collect(node[2])
    if whole is None or parts is None:
        return None
    for part in parts:
        kept: list[Interval] = []
        for each in whole:
            left = each._replace(high=part.low, open_high=not part.open_low)
            right = each._replace(low=part.high, open_low=not part.open_high)
            if _key_high(each) <= _key_high(left):
                left = each
            if _key_low(each) >= _key_low(right):
                right = each
            kept += {each: None for each in (left, right) if _holds(each)}
        whole = kept
    return whole


def _key_low(each: Interval) -> tuple[End, bool]:
    return (each.low, each.open_low)


def _key_high(each: Interval) -> tuple[End, bool]:
    return (each.high, not each.open_high)


def _holds(each: Interval) -> bool:
    """Whether there is a number in it."""
    return each.low < each.high or (each.low == each.high and not (each.open_low or each.open_high))


def _end(node: Node) -> End | None:
    if node in INFINITE:
        return INFINITE[node]
    try:
        return rational(form(node))
    except (Unreadable, Undecided):
        return None


def _joined(found: list[Interval]) -> list[Interval]:
    kept = [each for each in found if _holds(each)]
    kept.sort(key=lambda each: (each.low, each.open_low))
    result: list[Interval] = []
    for each in kept:
        last = result[-1] if result else None
        touches = last is not None and (
            each.low < last.high
            or (each.low == last.high and not (each.open_low and last.open_high))
        )
        if last is None or not touches:
            result.append(each)
        elif each.high > last.high:
            result[-1] = last._replace(high=each.high, open_high=each.open_high)
        elif each.high == last.high:
            result[-1] = last._replace(open_high=last.open_high and each.open_high)
    return result

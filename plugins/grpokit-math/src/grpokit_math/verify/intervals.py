r"""Sets of real numbers as sorted intervals, where every end is rational or infinite.

``x > 3`` is ``(3, \infty)``; ``(0, 1] \cup (1, 2)`` is ``(0, 2)``.
"""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import NamedTuple

from grpokit_math.verify.grammar import Node
from grpokit_math.verify.ring import Undecided, form, rational
from grpokit_math.verify.verdict import Unreadable

__all__ = ["Interval", "inequality", "intervals"]

End = Fraction | float
FLIPPED = {"<": ">", ">": "<", "leq": "geq", "geq": "leq"}
INFINITE = {("const", "infty"): inf, ("neg", ("const", "infty")): -inf}


class Interval(NamedTuple):
    low: End
    open_low: bool
    high: End
    open_high: bool


def inequality(node: Node) -> Node | None:
    r"""``x > 3``, ``-2 \le x \le 7`` and ``x \in S`` as the set of x; None for anything else."""
    if node[0] == "list":
        parts = [inequality(part) for part in node[1]]
        if any(part is None for part in parts):
            return None
        result = parts[0]
        for part in parts[1:]:
            result = ("union", result, part)
        return result
    if node[0] != "rel":
        return None
    marks, sides = node[1], node[2]
    if marks == ("in",) and sides[0][0] == "sym":
        return tuple(sides[1])
    infinity: Node = ("const", "infty")
    if len(marks) == 1 and marks[0] in FLIPPED:
        mark, left, right = marks[0], sides[0], sides[1]
        if left[0] != "sym":
            mark, left, right = FLIPPED[mark], right, left
        if left[0] != "sym":
            return None
        if mark in (">", "geq"):
            return ("tuple", "[" if mark == "geq" else "(", (right, infinity), ")")
        return ("tuple", "(", (("neg", infinity), right), "]" if mark == "leq" else ")")
    if len(marks) == 2 and sides[1][0] == "sym":
        low, high = sides[0], sides[2]
        if marks[0] in (">", "geq"):
            marks, low, high = (FLIPPED.get(marks[1], ""), FLIPPED[marks[0]]), high, low
        if marks[0] in ("<", "leq") and marks[1] in ("<", "leq"):
            return (
                "tuple",
                "[" if marks[0] == "leq" else "(",
                (low, high),
                "]" if marks[1] == "leq" else ")",
            )
    return None


def intervals(node: Node) -> list[Interval] | None:
    """The set as disjoint intervals in order; None if an end is not rational, or it is no such set."""
    found = _collect(node)
    return None if found is None else _joined(found)


def _collect(node: Node) -> list[Interval] | None:
    kind = node[0]
    if kind == "tuple" and len(node[2]) == 2:
        low, high = (_end(part) for part in node[2])
        if low is None or high is None or low > high:
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
    whole, points = _collect(node[1]), _collect(node[2])
    if whole is None or points is None or any(point.low != point.high for point in points):
        return None
    for point in points:
        kept: list[Interval] = []
        for each in whole:
            if not each.low <= point.low <= each.high:
                kept.append(each)
                continue
            if each.low < point.low:
                kept.append(each._replace(high=point.low, open_high=True))
            if point.low < each.high:
                kept.append(each._replace(low=point.low, open_low=True))
        whole = kept
    return whole


def _end(node: Node) -> End | None:
    if node in INFINITE:
        return INFINITE[node]
    try:
        return rational(form(node))
    except (Unreadable, Undecided):
        return None


def _joined(found: list[Interval]) -> list[Interval]:
    kept = [each for each in found if each.low < each.high or not (each.open_low or each.open_high)]
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

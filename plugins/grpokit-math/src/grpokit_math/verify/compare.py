"""Whether two answers that were read are the same. Exact where possible; else it asks the prover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from grpokit_math.verify.answer import Answer
from grpokit_math.verify.cost import check
from grpokit_math.verify.intervals import inequality, intervals, subject
from grpokit_math.verify.node import Node
from grpokit_math.verify.ring import Form, Undecided, begin, equal, form, proportional, rational
from grpokit_math.verify.verdict import Gate, Stage, Unreadable, Verdict

__all__ = ["Prover", "compare"]

Prover = Callable[[Node, Node, float], bool]
"""Whether two expressions are equal within a relative tolerance; raises what ends the comparison."""
ORDER: tuple[Stage, ...] = ("text", "number", "set", "symbolic")
MANY = ("list", "set", "tuple", "union", "minus", "matrix", "space")
MOST_QUESTIONS = 64
FUNCTION_NAMES = frozenset("fghFGPQpqy")


def compare(gold: Answer, answer: Answer, tolerance: float, prove: Prover) -> Verdict:
    """The verdict for two answers.

    Raises:
        Gate: it would cost too much; and what ``prove`` raises.
    """
    if gold.key == answer.key:
        return Verdict(correct=True, stage="text")
    if gold.node is None or answer.node is None:
        return _texts(gold, answer)
    units = _unit(gold), _unit(answer)
    if all(units) and units[0] != units[1]:
        return Verdict(correct=False, stage="text", detail=f"units {units[0]} and {units[1]}")
    begin()
    judge = _Judge(tolerance, prove)
    try:
        correct = judge.same(_percent(gold), _percent(answer))
    except (Unreadable, Undecided) as problem:
        return Verdict(correct=False, stage=judge.stage, detail=str(problem))
    return Verdict(correct=correct, stage=judge.stage)


def _percent(answer: Answer) -> Node:
    assert answer.node is not None
    return ("pct", answer.node) if answer.unit == ("percent",) else answer.node


def _unit(answer: Answer) -> tuple[str, ...]:
    """The unit. A percent sign is one beside another: 10% is not $10."""
    return ("percent",) if answer.node is not None and answer.node[0] == "pct" else answer.unit


def _texts(gold: Answer, answer: Answer) -> Verdict:
    same = bool(gold.key) and gold.text() == answer.text()
    return Verdict(correct=same, stage="text", detail="" if same else gold.why or answer.why)


class _Judge:
    """One comparison. ``stage`` is the furthest that it went."""

    def __init__(self, tolerance: float, prove: Prover) -> None:
        self.tolerance = tolerance
        self.prove = prove
        self.stage: Stage = "text"
        self.questions = 0

    def reach(self, stage: Stage) -> None:
        if ORDER.index(stage) > ORDER.index(self.stage):
            self.stage = stage

    def same(self, gold: Node, answer: Node) -> bool:
        gold, answer = _spread(_entries(gold)), _spread(_entries(answer))
        if gold == answer:
            self.reach("set" if gold[0] in MANY else "number")
            return True
        if gold[0] == "base" or answer[0] == "base":
            return _bases(gold, answer)
        if gold[0] == "rel" or answer[0] == "rel":
            return self.relations(gold, answer)
        if gold[0] in ("list", "set") or answer[0] in ("list", "set"):
            return self.lists(gold, answer)
        if (gold[0] in MANY or answer[0] in MANY) and not (_is_det(gold) or _is_det(answer)):
            return self.structures(gold, answer)
        return self.values(gold, answer)

    # -- one number or expression
    def values(self, gold: Node, answer: Node) -> bool:
        if gold[0] == answer[0] == "pct":
            return self.value(gold[1], answer[1])
        if gold[0] == "pct" or answer[0] == "pct":
            # "20%" is 20 to a data set of bare numbers, and 0.2.
            return self.value(_bare(gold), _bare(answer)) or self.value(gold, answer)
        return self.value(_bare(gold), _bare(answer))

    def value(self, gold: Node, answer: Node) -> bool:
        letters = _choice(gold, answer)
        if letters is not None:
            return letters
        self.reach("number")
        first, second = _form(gold), _form(answer)
        if first is not None and second is not None:
            left, right = rational(first), rational(second)
            if left is not None and right is not None:
                return _near(left, right, self.tolerance)
            self.reach("symbolic")
            decided = equal(first, second)
            if decided or (decided is False and not self.tolerance):
                return bool(decided)
        if _infinite(gold) or _infinite(answer):
            return _infinite(gold) == _infinite(answer)
        self.reach("symbolic")
        self.questions += 1
        if self.questions > MOST_QUESTIONS:
            raise Gate(f"more than {MOST_QUESTIONS} comparisons")
        check(gold)
        check(answer)
        return self.prove(gold, answer, self.tolerance)

    # -- several
    def lists(self, gold: Node, answer: Node) -> bool:
        self.reach("set")
        first, second = _members(gold), _members(answer)
        if gold[0] == "list" and inequality(gold) is not None:
            return self.relations(gold, answer)
        if answer[0] == "list" and inequality(answer) is not None:
            return self.relations(gold, answer)
        if gold[0] == "set" or answer[0] == "set":
            first, second = self.distinct(first), self.distinct(second)
        return self.unordered(first, second)

    def distinct(self, parts: Sequence[Node]) -> list[Node]:
        kept: list[Node] = []
        for part in parts:
            if part not in kept:
                kept.append(part)
        return kept

    def unordered(self, first: Sequence[Node], second: Sequence[Node]) -> bool:
        if len(first) != len(second):
            return False
        left = list(second)
        for part in first:
            match = next((each for each in left if each == part), None)
            if match is None:
                match = next((each for each in left if self.same(part, each)), None)
            if match is None:
                return False
            left.remove(match)
        return True

    def structures(self, gold: Node, answer: Node) -> bool:  # noqa: PLR0911  one line a kind
        self.reach("set")
        if gold[0] == answer[0] == "tuple" and len(gold[2]) == len(answer[2]):
            ends = len(gold[2]) > 2 or (gold[1] == answer[1] and gold[3] == answer[3])
            return ends and all(self.same(a, b) for a, b in zip(gold[2], answer[2], strict=True))
        if gold[0] == answer[0] == "matrix":
            return self.matrices(gold, answer)
        known = ("tuple", "union", "minus", "space")
        if gold[0] not in known or answer[0] not in known:
            return False
        first, second = intervals(gold), intervals(answer)
        if first is not None and second is not None:
            return first == second
        if gold[0] == answer[0] == "union":
            return self.unordered(_pieces(gold), _pieces(answer))
        if gold[0] == answer[0] == "minus":
            return self.same(gold[1], answer[1]) and self.same(gold[2], answer[2])
        return False

    def matrices(self, gold: Node, answer: Node) -> bool:
        rows, others = gold[2], answer[2]
        if gold[1] != answer[1] or len(rows) != len(others) or len(rows[0]) != len(others[0]):
            return False
        return all(
            self.same(a, b)
            for row, other in zip(rows, others, strict=True)
            for a, b in zip(row, other, strict=True)
        )

    # -- equations and inequalities
    def relations(self, gold: Node, answer: Node) -> bool:
        first, second = inequality(gold), inequality(answer)
        if first is not None or second is not None:
            return self.inequalities(gold, answer, first, second)
        if gold[0] == "rel" and answer[0] == "rel":
            return self.equations(gold, answer)
        if gold[0] == "rel":
            return self.assigned(gold, answer, answer_is_first=False)
        return self.assigned(answer, gold, answer_is_first=True)

    def inequalities(
        self, gold: Node, answer: Node, first: Node | None, second: Node | None
    ) -> bool:
        self.reach("set")
        names = {name for name in (subject(gold), subject(answer)) if name is not None}
        if len(names) > 1:
            return False
        return self.same(first or gold, second or answer)

    def assigned(self, relation: Node, other: Node, *, answer_is_first: bool) -> bool:
        """``x = 5`` and ``5``: the name is dropped; every further side has to be the value."""
        if set(relation[1]) != {"="}:
            return False
        sides = list(relation[2])
        if len(sides) == 2 and not _is_name(sides[0]) and _is_name(sides[1]):
            sides.reverse()
        named = _is_name(sides[0]) and (len(sides) == 2 or not _is_name(other))
        if named or (_is_quantity(sides[0]) and _is_number(other)):
            sides = sides[1:]
        if len(sides) > 3:
            return False
        pairs = [(side, other) if answer_is_first is False else (other, side) for side in sides]
        return all(self.same(a, b) for a, b in pairs)

    def equations(self, gold: Node, answer: Node) -> bool:
        if gold[1] != answer[1] or len(gold[2]) != len(answer[2]):
            return False
        if gold[1] != ("=",):
            return all(self.same(a, b) for a, b in zip(gold[2], answer[2], strict=True))
        (left, right), (other_left, other_right) = gold[2], answer[2]
        if _is_function(left) and other_left == ("sym", "y"):
            return self.same(right, other_right)
        first, second = _difference(left, right), _difference(other_left, other_right)
        if first is not None and second is not None:
            self.reach("symbolic")
            decided = proportional(first, second)
            if decided is not None:
                return decided
        return self.same(left, other_left) and self.same(right, other_right)


def _form(node: Node) -> Form | None:
    """None for what only the prover can look at. A part that is no number stays an error."""
    try:
        return form(node)
    except Undecided:
        return None


def _difference(left: Node, right: Node) -> Form | None:
    try:
        return form(("add", (left, ("neg", right))))
    except (Undecided, Unreadable):
        return None


def _near(gold: Fraction, answer: Fraction, tolerance: float) -> bool:
    return gold == answer or (
        tolerance > 0 and abs(gold - answer) <= Fraction(tolerance) * abs(gold)
    )


def _bare(node: Node) -> Node:
    """Without a percent or degree sign."""
    return node[1] if node[0] in ("pct", "deg") else node


def _choice(gold: Node, answer: Node) -> bool | None:
    """Single letters: a choice may be written small, a variable may not."""
    if gold[0] != "sym" or answer[0] not in ("sym", "const"):
        return None
    return bool(gold[1] == answer[1] or (gold[1] in "ABCDEFGHIJ" and gold[1].lower() == answer[1]))


def _infinite(node: Node) -> int:
    if node == ("const", "infty"):
        return 1
    return -1 if node == ("neg", ("const", "infty")) else 0


def _members(node: Node) -> Sequence[Node]:
    if node[0] in ("list", "set"):
        parts: Sequence[Node] = node[1]
        return parts
    return (node,)


def _pieces(node: Node) -> list[Node]:
    return [*_pieces(node[1]), *_pieces(node[2])] if node[0] == "union" else [node]


def _is_name(node: Node) -> bool:
    """``x``, ``f(x)``, ``f^{-1}(x)`` or ``(x, y)``."""
    if node[0] == "tuple":
        return all(part[0] == "sym" for part in node[2])
    return bool(node[0] == "sym") or _is_function(node)


def _is_function(node: Node) -> bool:
    if node[0] != "mul" or len(node[1]) != 2 or node[1][1][0] != "sym":
        return False
    head = node[1][0]
    if head[0] == "pow":
        inverse: Node = (("sym", head[1][1]), ("neg", ("num", Fraction(1))))
        return bool(head[1:] == inverse)
    return head[0] == "sym" and head[1] in FUNCTION_NAMES


def _is_quantity(node: Node) -> bool:
    """What a question may ask for: ``f(2)``, ``m + n``, ``|S|``. No number of it may change the value."""
    if node[0] == "add":
        return all(part[0] == "sym" for part in node[1]) and len(set(node[1])) == len(node[1])
    if node[:2] == ("fn", "abs"):
        return bool(node[2][0][0] == "sym")
    if node[0] == "mul" and len(node[1]) == 2:
        head, argument = node[1]
        known = head[0] == "sym" and (head[1] in FUNCTION_NAMES or head[1].isupper())
        return known and _is_number(argument) and argument[0] != "list"
    return False


def _is_number(node: Node) -> bool:
    """Whether a formula has no variables."""
    return node[0] != "sym" and all(
        _is_number(part) if part and isinstance(part[0], str) else all(map(_is_number, part))
        for part in node[1:]
        if isinstance(part, tuple)
    )


def _is_matrix(node: Node) -> bool:
    return node[0] == "matrix" and not _is_det(node)


def _is_det(node: Node) -> bool:
    """A number."""
    return node[:2] == ("matrix", "det")


def _entries(node: Node) -> Node:
    """A number times a matrix as the matrix of its entries."""
    kind = node[0]
    if kind == "neg" and _is_matrix(node[1]):
        return _each(node[1], lambda entry: ("neg", entry))
    if kind == "div" and _is_matrix(node[1]):
        return _each(node[1], lambda entry: ("div", entry, node[2]))
    if kind == "mul":
        found = [part for part in node[1] if _is_matrix(part)]
        others = [part for part in node[1] if not _is_matrix(part)]
        if len(found) == 1:
            return _each(found[0], lambda entry: ("mul", (*others, entry)))
    return node


def _each(matrix: Node, change: Callable[[Node], Node]) -> Node:
    rows = tuple(tuple(change(entry) for entry in row) for row in matrix[2])
    return ("matrix", matrix[1], rows)


def _bases(gold: Node, answer: Node) -> bool:
    """``52_8`` is ``52`` in the base that was asked for, and no other number of that value."""
    if gold[0] == answer[0] == "base":
        return bool(gold[1:] == answer[1:])
    based, other = (gold, answer) if gold[0] == "base" else (answer, gold)
    return based is gold and other == ("num", Fraction(based[1]))


def _spread(node: Node) -> Node:
    r"""``1 \pm \sqrt 2`` as the list of both values, in lists and sets too."""
    if node[0] in ("list", "set"):
        parts: list[Node] = []
        for part in node[1]:
            spread = _spread(part)
            parts.extend(spread[1] if spread[0] == "list" else (spread,))
        return (node[0], tuple(parts), *node[2:])
    if node[0] == "rel" and node[1] == ("=",) and _is_name(node[2][0]) and _has_sign(node[2][1]):
        return _spread(node[2][1])
    if node[0] in ("rel", *MANY) or not _has_sign(node):
        return node
    return ("list", (_resolved(node, "pm"), _resolved(node, "mp")))


def _has_sign(node: object) -> bool:
    if not isinstance(node, tuple) or not node:
        return False
    return node[0] in ("pm", "mp") or any(_has_sign(part) for part in node)


def _resolved(node: Node, plus: str) -> Node:
    """The upper or the lower signs."""
    if node and node[0] in ("pm", "mp"):
        inside = _resolved(node[1], plus)
        return inside if node[0] == plus else ("neg", inside)
    return tuple(_resolved(part, plus) if isinstance(part, tuple) else part for part in node)

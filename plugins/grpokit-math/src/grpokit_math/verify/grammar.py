r"""Tokens to a tree. A recursive descent whose depth the tokeniser has bounded; nothing is evaluated.

A node is a tuple whose first entry is its kind. Numbers: ``("num", Fraction)``, ``("sym", name)``,
``("const", "pi")``, ``add``, ``mul``, ``div``, ``neg``, ``pow``, ``root``, ``fn``, ``fact``, ``deg``,
``pct``, ``pm``. Answers made of several: ``list``, ``set``, ``tuple``, ``union``, ``minus``,
``matrix``, ``rel``; and ``base`` (``52_8``), ``text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from grpokit_math.verify.commands import FUNCTIONS, GREEK, INVERSE
from grpokit_math.verify.node import Node
from grpokit_math.verify.numbers import Numbers
from grpokit_math.verify.tokens import Token
from grpokit_math.verify.verdict import Gate, Unreadable

__all__ = ["parse"]

RELATIONS = frozenset(("=", "<", ">", "leq", "geq", "neq", "in"))
CLOSERS = {"(": (")", "]"), "[": (")", "]")}
FACTOR_COMMANDS = FUNCTIONS | GREEK | {"frac", "sqrt", "pi", "infty", "binom", "emptyset", "mathbb"}
OF_SETS = frozenset(("max", "min", "gcd", "lcm"))
LONGEST_LIST = 64
LONGEST_PRODUCT = 8
MINUS_ONE = ("neg", ("num", Fraction(1)))


def parse(tokens: Sequence[Token]) -> Node:
    """The tree of an answer.

    Raises:
        Unreadable: this is no formula.
        Gate: it is nested too deeply.
    """
    parser = _Parser(tokens)
    try:
        node = parser.items()
    except RecursionError:
        raise Gate("nested too deeply") from None
    if parser.position < len(tokens):
        raise Unreadable(f"at {parser.word()!r}")
    return node


class _Parser(Numbers):
    # -- answers of several parts
    def items(self) -> Node:
        marks: set[str] = set()
        parts = self.sequence(marks)
        if len(parts) == 1:
            return parts[0]
        return ("list", tuple(parts), "or") if marks == {"or"} else ("list", tuple(parts))

    def sequence(self, marks: set[str] | None = None) -> list[Node]:
        """The parts between commas and words; ``marks`` gets what stood between them."""
        parts = [self.relation()]
        while mark := self.take(",", ";", "and", "or"):
            while following := self.take("and", "or"):
                mark = following
            if marks is not None:
                marks.add(mark)
            parts.append(self.relation())
            if len(parts) > LONGEST_LIST:
                raise Gate(f"more than {LONGEST_LIST} parts")
        return parts

    def relation(self) -> Node:
        sides, marks = [self.union()], []
        while (mark := self.take(*RELATIONS)) is not None:
            marks.append(mark)
            sides.append(self.union())
        return sides[0] if not marks else ("rel", tuple(marks), tuple(sides))

    def union(self) -> Node:
        node = self.sum()
        while (mark := self.take("cup", "setminus")) is not None:
            other = self.sum()
            node = ("union", node, other) if mark == "cup" else ("minus", node, other)
        return node

    # -- arithmetic
    def sum(self) -> Node:
        self.depth += 1
        if self.depth > 100:
            raise Gate("nested too deeply")
        terms = []
        mark = self.take("+", "-", "pm", "mp") or "+"
        while True:
            terms.append(_signed(mark, self.product()))
            following = self.take("+", "-", "pm", "mp")
            if following is None:
                break
            mark = following
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("add", tuple(terms))

    def product(self) -> Node:
        factors = [self.unary()]
        while True:
            if self.take("*"):
                factors.append(self.unary())
            elif self.take("/"):
                factors = [("div", _product(factors), self.divisor())]
            elif self.starts_factor():
                factors.append(self.power())
            else:
                return _product(factors)

    def divisor(self) -> Node:
        """``1/ab`` is 1/(ab), as people write it: letters that touch stay together."""
        token = self.token()
        if token is None or token.kind != "run":
            return self.unary()
        self.spell(token)
        return _product([self.power() for _ in str(token.value)])

    def spell(self, token: Token) -> None:
        """Letters that touch are a product: ``ab^2`` is a b^2."""
        letters = str(token.value)
        if letters in ("and", "or"):
            raise Unreadable("a list ends too early")
        if len(letters) > LONGEST_PRODUCT:
            raise Unreadable(f"the word {letters!r}")
        here = self.position
        spelt = [Token("var", letter) for letter in letters]
        self.tokens = [*self.tokens[:here], *spelt, *self.tokens[here + 1 :]]

    def unary(self) -> Node:
        self.depth += 1
        if self.depth > 100:
            raise Gate("nested too deeply")
        mark = self.take("+", "-")
        node = self.unary() if mark else self.power()
        self.depth -= 1
        return _signed(mark or "+", node)

    def starts_factor(self) -> bool:
        """Whether a factor follows without a sign. A number never does: ``4 2`` is no product."""
        token = self.token()
        if token is None:
            return False
        if token.kind in ("var", "run"):
            return token.value not in ("and", "or")
        if token.kind == "cmd":
            return token.value in FACTOR_COMMANDS or str(token.value).startswith("begin ")
        return token.kind == "op" and (
            token.value in ("(", "{") or (token.value == "|" and not self.bars)
        )

    def power(self) -> Node:
        node = self.postfix(self.primary())
        if self.take("^"):
            if self.degree():
                return self.postfix(("deg", node))
            node = ("pow", node, self.argument(signed=True))
            while self.word() in ("!", "%"):
                node = self.postfix(node)
        return node

    def postfix(self, node: Node) -> Node:
        while True:
            if self.take("!"):
                node = ("fact", node)
            elif self.take("%"):
                node = ("pct", node)
            elif self.take("circ"):
                node = ("deg", node)
            else:
                return node

    def argument(self, *, signed: bool = False, whole: bool = False) -> Node:
        r"""The argument of a command: a group, or one token.

        ``\frac12`` has two digits. What is written ``2^10``, ``\sqrt12``, ``\frac1{2}3`` or ``_10`` has
        whole numbers, whatever LaTeX sets.
        """
        token = self.token()
        if token is None:
            raise Unreadable("an argument is missing")
        if token.value == "{":
            self.position += 1
            node = self.sum()
            self.need("}")
            return node
        if token.kind == "num":
            return self.digit(token, whole=whole or signed)
        if token.kind == "run":
            self.spell(token)
            self.position += 1
            return _named(str(token.value)[0])
        if signed and (mark := self.take("+", "-")):
            return _signed(mark, self.primary())
        return self.primary()

    def primary(self) -> Node:
        token = self.token()
        if token is None:
            raise Unreadable("it ends too early")
        if token.kind == "num":
            return self.number(token)
        if token.kind == "run":
            self.spell(token)
        if token.kind in ("var", "run"):
            self.position += 1
            return self.indexed(str(token.value)[0])
        if token.kind == "op":
            return self.bracket(str(token.value))
        if token.kind == "cmd":
            return self.command(str(token.value))
        raise Unreadable(f"the word {token.value!r}")

    def indexed(self, name: str) -> Node:
        if self.take("_"):
            start = self.position
            self.argument(whole=True)
            index = "".join(str(token.value) for token in self.tokens[start : self.position])
            name += "_" + index.strip("{}")
        while self.take("'"):
            name += "'"
        return _named(name)

    def bracket(self, mark: str) -> Node:
        self.position += 1
        if mark == "{":
            parts = self.sequence()
            if len(parts) == 1 and self.take("choose"):
                parts = [("fn", "binom", (parts[0], self.sum()))]
            self.need("}")
            return parts[0] if len(parts) == 1 else ("set", tuple(parts))
        if mark == "\\{":
            return self.set_in_braces()
        if mark == "|":
            self.bars += 1
            node = self.sum()
            self.need("|")
            self.bars -= 1
            return ("fn", "abs", (node,))
        if mark not in CLOSERS:
            raise Unreadable(f"at {mark!r}")
        bars, self.bars = self.bars, 0
        parts = self.sequence()
        self.bars = bars
        closer = self.need(*CLOSERS[mark])
        if len(parts) == 2:  # it may be an interval
            return ("tuple", mark, tuple(parts), closer)
        if (mark, closer) not in (("(", ")"), ("[", "]")):
            raise Unreadable("brackets do not fit")
        if len(parts) > 2:
            return ("tuple", mark, tuple(parts), closer)
        return self.in_base(parts[0]) if mark == "(" else parts[0]

    def in_base(self, node: Node) -> Node:
        """``(52)_8``."""
        if node[0] != "num" or node[1].denominator != 1 or not self.take("_"):
            return node
        return ("base", int(node[1]), self.base())

    def set_in_braces(self) -> Node:
        if self.take("\\}"):
            return ("set", ())
        condition = self.set_builder()
        parts = [] if condition else self.sequence()
        self.need("\\}")
        return condition or ("set", tuple(parts))

    def set_builder(self) -> Node | None:
        r"""``\{x \mid x > 2\}`` is what its condition says."""
        following = self.tokens[self.position : self.position + 2]
        kinds = [token.kind for token in following]
        if kinds != ["var", "op"] or following[1].value not in ("|", ":"):
            return None
        self.position += 2
        name = ("sym", following[0].value)
        marks: set[str] = set()
        parts = self.sequence(marks)
        about_it = all(part[0] == "rel" and name in part[2] for part in parts)
        if not about_it or (len(parts) > 1 and marks != {"or"}):
            raise Unreadable("a set of no plain condition")
        return parts[0] if len(parts) == 1 else ("list", tuple(parts), "or")

    def command(self, name: str) -> Node:
        self.position += 1
        if name in ("pi", "infty"):
            return ("const", name)
        if name in GREEK:
            return self.indexed(f"\\{name}")
        if name == "emptyset":
            return ("set", ())
        if name in FUNCTIONS:
            return self.function(name)
        if name.startswith("begin ") and name.endswith(("matrix", "array")):
            return self.matrix(name.removeprefix("begin "))
        return self.with_arguments(name)

    def with_arguments(self, name: str) -> Node:
        if name == "frac":
            return self.fraction()
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ("fn", "binom", (self.argument(), self.argument()))
        if name == "mathbb":
            node = self.argument()
            return ("space", node[1] if node[0] == "sym" else "?")
        if name in ("lfloor", "lceil"):
            node = self.sum()
            self.need(name.replace("l", "r", 1))
            return ("fn", name[1:], (node,))
        raise Unreadable(f"the command {name!r}")

    def fraction(self) -> Node:
        above = self.argument()
        return ("div", above, self.argument(whole=True))

    def root(self) -> Node:
        degree: Node = ("num", Fraction(2))
        if self.take("["):
            degree = self.sum()
            self.need("]")
        return ("root", self.argument(whole=True), degree)

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        for _ in range(2):
            if self.take("_"):
                base = self.argument(whole=self.position + 1 < len(self.tokens))
            elif self.take("^"):
                power = self.argument(signed=True)
        if self.word() in ("(", "{") or (name in OF_SETS and self.word() == "\\{"):
            opener = self.need("(", "{", "\\{")
            parts = self.sequence()
            self.need({"(": ")", "{": "}"}.get(opener, "\\}"))
        else:
            parts = [self.bare_argument()]
        if power == MINUS_ONE and name in INVERSE:
            name, power = INVERSE[name], None
        if base is not None:
            if name != "log":
                raise Unreadable(f"an index of {name}")
            parts.append(base)
        node: Node = ("fn", name, tuple(parts))
        return node if power is None else ("pow", node, power)

    def bare_argument(self) -> Node:
        r"""``\sin 2x``: factors up to the next sign or function."""
        if self.take("-"):
            return ("neg", self.bare_argument())
        node = self.power()
        while (
            self.starts_factor() and self.word() not in FUNCTIONS and self.word() not in ("(", "{")
        ):
            node = ("mul", (node, self.power()))
        return node


def _signed(mark: str, node: Node) -> Node:
    if mark in ("pm", "mp"):
        return (mark, node)
    return ("neg", node) if mark == "-" else node


def _product(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else ("mul", tuple(factors))


def _named(name: str) -> Node:
    return ("const", name) if name in ("e", "i") else ("sym", name)

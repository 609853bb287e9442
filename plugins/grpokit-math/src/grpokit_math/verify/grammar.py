r"""Tokens to a tree. A recursive descent whose depth the tokeniser has bounded; nothing is evaluated.

A node is a tuple whose first entry is its kind. Numbers: ``("num", Fraction)``, ``("sym", name)``,
``("const", "pi")``, ``add``, ``mul``, ``div``, ``neg``, ``pow``, ``root``, ``fn``, ``fact``, ``deg``,
``pct``, ``pm``. Answers made of several: ``list``, ``set``, ``tuple``, ``union``, ``minus``,
``matrix``, ``rel``; and ``base`` (``52_8``), ``text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from grpokit_math.verify.node import Node
from grpokit_math.verify.numbers import Numbers
from grpokit_math.verify.tokens import Token
from grpokit_math.verify.verdict import Gate, Unreadable

__all__ = ["parse"]

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "ln",
        "log",
        "lg",
        "exp",
        "gcd",
        "lcm",
        "max",
        "min",
    ]
)
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
    ]
)
RELATIONS = frozenset(("=", "<", ">", "leq", "geq", "in"))
CLOSERS = {"(": (")", "]"), "[": (")", "]")}
FACTOR_COMMANDS = FUNCTIONS | GREEK | {"frac", "sqrt", "pi", "infty", "binom", "emptyset", "mathbb"}
LONGEST_LIST = 64
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
    separators: tuple[str, ...] = ()

    # -- answers of several parts
    def items(self) -> Node:
        start = self.separators
        parts = self.sequence()
        if len(parts) == 1:
            return parts[0]
        marks = set(self.separators[len(start) :])
        return ("list", tuple(parts), "or") if marks == {"or"} else ("list", tuple(parts))

    def sequence(self) -> list[Node]:
        parts = [self.relation()]
        while mark := self.take(",", ";", "and", "or"):
            while following := self.take("and", "or"):
                mark = following
            self.separators = (*self.separators, mark)
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
                factors = [("div", _product(factors), self.unary())]
            elif self.starts_factor():
                factors.append(self.power())
            else:
                return _product(factors)

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

    def argument(self, *, signed: bool = False) -> Node:
        r"""The argument of a command: a group, or one token (``\frac12`` has two digits)."""
        token = self.token()
        if token is None:
            raise Unreadable("an argument is missing")
        if token.value == "{":
            self.position += 1
            node = self.sum()
            self.need("}")
            return node
        if token.kind == "num":
            return self.digit(token)
        if token.kind == "run" and token.value not in ("and", "or"):
            head, rest = str(token.value)[0], str(token.value)[1:]
            tail = Token("var" if len(rest) == 1 else "run", rest)
            self.tokens = [*self.tokens[: self.position], tail, *self.tokens[self.position + 1 :]]
            return _named(head)
        if signed and (mark := self.take("+", "-")):
            return _signed(mark, self.primary())
        return self.primary()

    def primary(self) -> Node:
        token = self.token()
        if token is None:
            raise Unreadable("it ends too early")
        if token.kind == "num":
            return self.number(token)
        if token.kind in ("var", "run"):
            return self.name(token)
        if token.kind == "op":
            return self.bracket(str(token.value))
        if token.kind == "cmd":
            return self.command(str(token.value))
        raise Unreadable(f"the word {token.value!r}")

    def name(self, token: Token) -> Node:
        if token.value in ("and", "or"):
            raise Unreadable("a list ends too early")
        self.position += 1
        if token.kind == "run":
            letters = str(token.value)
            if len(letters) > 8:
                raise Unreadable(f"the word {letters!r}")
            first = [_named(letter) for letter in letters[:-1]]
            return ("mul", (*first, self.indexed(letters[-1])))
        return self.indexed(str(token.value))

    def indexed(self, name: str) -> Node:
        if self.take("_"):
            start = self.position
            self.argument()
            index = "".join(str(token.value) for token in self.tokens[start : self.position])
            name += "_" + index.strip("{}")
        while self.take("'"):
            name += "'"
        return _named(name)

    def bracket(self, mark: str) -> Node:
        self.position += 1
        if mark == "{":
            parts = self.sequence()
            self.need("}")
            return parts[0] if len(parts) == 1 else ("set", tuple(parts))
        if mark == "\\{":
            if self.take("\\}"):
                return ("set", ())
            parts = self.sequence()
            self.need("\\}")
            return ("set", tuple(parts))
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
        if len(parts) > 1:
            return ("tuple", mark, tuple(parts), closer)
        if (mark, closer) not in (("(", ")"), ("[", "]")):
            raise Unreadable("brackets do not fit")
        return parts[0]

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
        self.closes_fraction = True
        below = self.argument()
        self.closes_fraction = False
        return ("div", above, below)

    def root(self) -> Node:
        degree: Node = ("num", Fraction(2))
        if self.take("["):
            degree = self.sum()
            self.need("]")
        return ("root", self.argument(), degree)

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        for _ in range(2):
            if self.take("_"):
                base = self.argument()
            elif self.take("^"):
                power = self.argument(signed=True)
        if self.word() in ("(", "{"):
            opener = self.need("(", "{")
            parts = self.sequence()
            self.need(")" if opener == "(" else "}")
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

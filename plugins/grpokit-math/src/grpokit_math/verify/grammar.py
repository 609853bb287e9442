r"""Tokens to a tree. A recursive descent whose depth the tokeniser has bounded; nothing is evaluated.

A node is a tuple whose first entry is its kind. Numbers: ``("num", Fraction)``, ``("sym", name)``,
``("const", "pi")``, ``add``, ``mul``, ``div``, ``neg``, ``pow``, ``root``, ``fn``, ``fact``, ``deg``,
``pct``, ``pm``. Answers made of several: ``list``, ``set``, ``tuple``, ``union``, ``minus``,
``matrix``, ``rel``; and ``base`` (``52_8``), ``text``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from grpokit_math.verify.tokens import Token
from grpokit_math.verify.verdict import Gate, Unreadable

__all__ = ["GREEK", "Node", "parse"]

Node = tuple[Any, ...]
FUNCTIONS = frozenset(
    """sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp
    gcd lcm max min""".split()
)
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
GREEK = frozenset(
    """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon
    phi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar""".split()
)
RELATIONS = frozenset(("=", "<", ">", "leq", "geq", "in"))
CLOSERS = {"(": (")", "]"), "[": (")", "]")}
FACTOR_COMMANDS = FUNCTIONS | GREEK | {"frac", "sqrt", "pi", "infty", "binom", "emptyset", "mathbb"}
LONGEST_LIST = 64
MINUS_ONE = ("num", Fraction(-1))


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


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.bars = 0
        self.depth = 0

    # -- reading tokens
    def word(self) -> Any:
        """The value of the next token, unless it is a number, a name or a word."""
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind in ("op", "cmd") or (
                token.kind in ("word", "run") and token.value in ("and", "or")
            ):
                return token.value
        return None

    def token(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, *values: str) -> str | None:
        found = self.word()
        if found in values and found is not None:
            self.position += 1
            return str(found)
        return None

    def need(self, *values: str) -> str:
        found = self.take(*values)
        if found is None:
            raise Unreadable(f"no {values[0]!r}")
        return found

    # -- answers of several parts
    def items(self) -> Node:
        parts = self.sequence()
        return parts[0] if len(parts) == 1 else ("list", tuple(parts))

    def sequence(self) -> list[Node]:
        parts = [self.relation()]
        while self.take(",", ";", "and", "or"):
            while self.take("and", "or"):
                pass
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
        node = self.unary()
        while True:
            if self.take("*"):
                node = ("mul", (node, self.unary()))
            elif self.take("/"):
                node = ("div", node, self.unary())
            elif self.starts_factor():
                node = ("mul", (node, self.power()))
            else:
                return node

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

    def degree(self) -> bool:
        if self.take("circ"):
            return True
        values = [token.value for token in self.tokens[self.position : self.position + 3]]
        if values == ["{", "circ", "}"]:
            self.position += 3
            return True
        return False

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

    def digit(self, token: Token) -> Node:
        value = token.value
        assert isinstance(value, Fraction)
        if value.denominator != 1 or value < 10 or self.whole_exponent():
            self.position += 1
            return ("num", value)
        head, rest = str(value)[0], str(value)[1:]
        tail = Token("num", Fraction(int(rest)))
        self.tokens = [*self.tokens[: self.position], tail, *self.tokens[self.position + 1 :]]
        return ("num", Fraction(int(head)))

    def whole_exponent(self) -> bool:
        """``2^10`` is written for 2 to the 10th, whatever LaTeX sets; so are ``\\sqrt12`` and ``_10``."""
        before = self.tokens[self.position - 1]
        return before.value in ("^", "sqrt", "_") or self.closes_fraction

    closes_fraction = False

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

    def number(self, token: Token) -> Node:
        self.position += 1
        value = token.value
        assert isinstance(value, Fraction)
        following = self.token()
        if following is not None and following.value == "_" and value.denominator == 1:
            self.position += 1
            return ("base", int(value), self.argument())
        if following is not None and following.value == "overline":
            return self.repeating(value, following)
        if value.denominator == 1 and following is not None:
            return self.mixed(value, following)
        return ("num", value)

    def repeating(self, value: Fraction, mark: Token) -> Node:
        """Only ``0.\\overline{3}``: what repeats begins right behind the point."""
        self.position += 1
        values = self.tokens[self.position : self.position + 3]
        if mark.gap or len(values) < 3 or values[0].value != "{" or values[2].value != "}":
            raise Unreadable("a bar")
        period = values[1].value
        if not isinstance(period, Fraction) or period.denominator != 1 or value.denominator != 1:
            raise Unreadable("a bar")
        self.position += 3
        return ("num", value + period / (10 ** len(str(period)) - 1))

    def mixed(self, value: Fraction, following: Token) -> Node:
        r"""``3 1/2`` and ``1\frac{4}{5}``: a whole number and a proper fraction of integers."""
        if following.value == "frac":
            start = self.position
            part = self.command("frac")
            if part[0] == "div" and part[1][0] == part[2][0] == "num":
                above, below = part[1][1], part[2][1]
                if above.denominator == below.denominator == 1 and 0 < above < below:
                    return ("num", value + above / below)
            self.position = start
            return ("num", value)
        parts = self.tokens[self.position : self.position + 3]
        if len(parts) == 3 and parts[1].value == "/" and parts[0].gap:
            above, below = parts[0].value, parts[2].value
            if isinstance(above, Fraction) and isinstance(below, Fraction) and 0 < above < below:
                self.position += 3
                return ("num", value + above / below)
        return ("num", value)

    def name(self, token: Token) -> Node:
        if token.value in ("and", "or"):
            raise Unreadable("a list ends too early")
        self.position += 1
        if token.kind == "run":
            letters = str(token.value)
            if len(letters) > 8:
                raise Unreadable(f"the word {letters!r}")
            *first, last = letters
            return ("mul", (*[_named(letter) for letter in first], self.indexed(last)))
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
            node = self.sum()
            self.need("}")
            return node
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
        if name == "frac":
            above = self.argument()
            self.closes_fraction = True
            try:
                below = self.argument()
            finally:
                self.closes_fraction = False
            return ("div", above, below)
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return ("fn", "binom", (self.argument(), self.argument()))
        if name in ("pi", "infty"):
            return ("const", name)
        if name in GREEK:
            return self.indexed("\\" + name)
        if name == "emptyset":
            return ("set", ())
        if name == "mathbb":
            node = self.argument()
            return ("space", node[1] if node[0] == "sym" else "?")
        if name in ("lfloor", "lceil"):
            node = self.sum()
            self.need("rfloor" if name == "lfloor" else "rceil")
            return ("fn", "floor" if name == "lfloor" else "ceil", (node,))
        if name in FUNCTIONS:
            return self.function(name)
        if name.startswith("begin ") and name.endswith("matrix"):
            return self.matrix(name.removeprefix("begin "))
        raise Unreadable(f"the command {name!r}")

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

    def matrix(self, kind: str) -> Node:
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while True:
            if self.take(f"end {kind}"):
                break
            row.append(self.sum())
            if self.take("&"):
                continue
            rows.append(tuple(row))
            row = []
            if not self.take("\\\\"):
                self.need(f"end {kind}")
                break
        if not rows or any(len(each) != len(rows[0]) for each in rows):
            raise Unreadable("rows of several lengths")
        return ("matrix", "det" if kind == "vmatrix" else "matrix", tuple(rows))


def _signed(mark: str, node: Node) -> Node:
    if mark in ("pm", "mp"):
        return (mark, node)
    return ("neg", node) if mark == "-" else node


def _named(name: str) -> Node:
    return ("const", name) if name in ("e", "i") else ("sym", name)

"""The comparison of expressions with sympy. Runs in a worker process only.

Expressions come as trees of our own grammar; no text is ever given to sympy. First numbers refute:
at some points both sides are computed to many digits. What agrees everywhere must then be proved
equal; agreement alone is never enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import sympy  # type: ignore[import-untyped]
from sympy import Expr, Integer, Rational, Symbol

__all__ = ["near", "same"]

POINTS = (
    (Rational(7, 5), Rational(-11, 7), Rational(13, 3), Rational(17, 19), Rational(-5, 23)),
    (Rational(23, 7), Rational(29, 13), Rational(31, 11), Rational(37, 17), Rational(41, 29)),
    (Rational(-19, 11), Rational(3, 7), Rational(-2, 13), Rational(-43, 31), Rational(47, 37)),
    (Rational(1, 3), Rational(2, 7), Rational(5, 11), Rational(7, 13), Rational(3, 17)),
)
DIGITS = 40
FUNCTIONS: dict[str, Any] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec,
    "csc": sympy.csc, "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan,
    "arccot": sympy.acot, "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh,
    "coth": sympy.coth, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs, "floor": sympy.floor,
    "ceil": sympy.ceiling, "gcd": sympy.gcd, "lcm": sympy.lcm, "max": sympy.Max, "min": sympy.Min,
    "binom": sympy.binomial, "fact": sympy.factorial,
}  # fmt: skip
CONSTANTS: dict[str, Any] = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infty": sympy.oo}
LOG_BASE = Symbol("log base", positive=True)
"""``\\log`` without a base is no base of our choosing: log x = ln x / ln b with b unknown."""


def build(node: Any) -> Expr:  # noqa: C901, PLR0911, PLR0912  one line a kind
    """A tree of JSON as an expression."""
    kind = node[0]
    if kind == "num":
        return Rational(int(node[1][0], 16), int(node[1][1], 16))
    if kind == "sym":
        return Symbol(node[1], real=True)
    if kind == "const":
        return CONSTANTS[node[1]]
    if kind == "add":
        return sympy.Add(*(build(part) for part in node[1]))
    if kind == "mul":
        return sympy.Mul(*(build(part) for part in node[1]))
    if kind == "neg":
        return -build(node[1])
    if kind == "div":
        return build(node[1]) / build(node[2])
    if kind == "pow":
        return power(build(node[1]), build(node[2]))
    if kind == "root":
        return root(build(node[1]), build(node[2]))
    if kind == "deg":
        return build(node[1]) * sympy.pi / 180
    if kind == "pct":
        return build(node[1]) / 100
    if kind == "fact":
        return sympy.factorial(build(node[1]))
    if kind == "matrix":
        return sympy.Matrix([[build(part) for part in row] for row in node[2]]).det()
    if kind == "fn":
        return function(node[1], [build(part) for part in node[2]])
    raise ValueError(f"no number: {kind}")


def root(base: Expr, degree: Expr) -> Expr:
    """A root as a power."""
    return power(base, Integer(1) / degree)


def power(base: Expr, exponent: Expr) -> Expr:
    """A power. The roots of odd degree of real numbers are real, as in school: of -8 it is -2."""
    if exponent.is_Rational and exponent.q > 1 and exponent.q % 2 and base.is_extended_real:
        part = sympy.sign(base) * sympy.Pow(sympy.Abs(base), Rational(1, exponent.q))
        return sympy.Pow(part, exponent.p)
    return sympy.Pow(base, exponent)


def function(name: str, arguments: list[Expr]) -> Expr:
    if name == "log":
        base = arguments[1] if len(arguments) == 2 else LOG_BASE
        return sympy.log(arguments[0]) / sympy.log(base)
    if name == "lg":
        return sympy.log(arguments[0]) / sympy.log(10)
    return FUNCTIONS[name](*arguments)


def same(first: Any, second: Any) -> bool:
    """Whether two expressions are provably equal."""
    a, b = build(first), build(second)
    difference = a - b
    if difference == 0:
        return True
    points = list(_points(a, b))
    compared = 0
    for point in points:
        agree = _agree(a.subs(point), b.subs(point))
        if agree is False:
            return False
        compared += agree is not None
    return compared >= min(2, len(points)) and any(form == 0 for form in _simpler(difference))


def _points(a: Expr, b: Expr) -> Iterator[dict[Any, Any]]:
    names = sorted((a.free_symbols | b.free_symbols) - {LOG_BASE}, key=str)
    if not names:
        yield {LOG_BASE: Rational(7, 3)}
        return
    for row in POINTS:
        yield {LOG_BASE: Rational(7, 3)} | {
            name: row[i % 5] + i // 5 for i, name in enumerate(names)
        }


def _agree(a: Expr, b: Expr) -> bool | None:
    """Whether two numbers agree to many digits; None if one of them is none."""
    left, right = sympy.N(a, DIGITS), sympy.N(b, DIGITS)
    if not (left.is_number and right.is_number) or left.has(
        sympy.nan, sympy.zoo, sympy.oo, -sympy.oo
    ):
        return None
    if right.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return None
    scale = max(abs(left), abs(right), Integer(1))
    return bool(abs(left - right) <= scale * sympy.Float(10) ** -(DIGITS - 12))


def _simpler(difference: Expr) -> Iterator[Expr]:
    """Forms of the difference, cheapest first. One that is 0 is a proof."""
    yield sympy.expand(difference)
    if not difference.free_symbols and difference.is_algebraic:
        # An algebraic number is 0 if its minimal polynomial is x.
        x = Symbol("x")
        yield sympy.Integer(0) if sympy.minimal_polynomial(difference, x) == x else Integer(1)
        return
    yield sympy.simplify(sympy.expand_log(sympy.expand(difference)))
    yield sympy.simplify(difference)
    yield sympy.simplify(sympy.expand_trig(difference.rewrite(sympy.cos)))
    if difference.has(sympy.Abs, sympy.sign, sympy.Pow) and len(difference.free_symbols) <= 3:
        yield _by_signs(difference)
    yield sympy.simplify(difference.rewrite(sympy.exp))


def _by_signs(difference: Expr) -> Expr:
    """0 if the difference is 0 for every choice of signs of its variables: their roots are plain then."""
    names = sorted(difference.free_symbols - {LOG_BASE}, key=str)
    positive = [Symbol(f"positive {name}", positive=True) for name in names]
    for signs in product((1, -1), repeat=len(names)):
        values = {name: sign * p for name, sign, p in zip(names, signs, positive, strict=True)}
        left = sympy.powdenest(difference.subs(values))
        if sympy.simplify(left) != 0:
            return left
    return Integer(0)


def near(first: Any, second: Any, tolerance: float) -> bool:
    """Whether the second number is within a relative distance of the first."""
    a, b = sympy.N(build(first), DIGITS), sympy.N(build(second), DIGITS)
    if not (a.is_number and b.is_number):
        return same(first, second)
    return bool(abs(a - b) <= sympy.Float(tolerance, DIGITS) * abs(a))

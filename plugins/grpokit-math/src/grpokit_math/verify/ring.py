r"""Exact arithmetic on expressions, without another process.

Numbers are quotients of polynomials with rational coefficients in variables, pi, e, i and roots of
primes. Such a form decides: a b' - a' b is the zero polynomial, or the numbers differ (pi and e are
taken as free of each other). Anything else (sin x, a nested root) is an atom named by its own form:
equal forms are still equal, different ones are not decided here.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import blake2b
from math import comb, factorial, isqrt
from threading import local
from typing import NamedTuple

from grpokit_math.verify.node import Node
from grpokit_math.verify.verdict import Gate, Unreadable

__all__ = ["Form", "Undecided", "begin", "equal", "form", "integer", "proportional", "rational"]

Atom = tuple[str, ...]
Monomial = tuple[tuple[Atom, int], ...]
Poly = dict[Monomial, Fraction]
MOST_TERMS = 400
LARGEST_EXPONENT = 10_000
MOST_BITS = 40_000
MOST_WORK = 15_000
LARGEST_FACTORIAL = 1000
TRIAL_DIVISION = 2000
ONE: Poly = {(): Fraction(1)}


class Undecided(Exception):
    """Too large for this module."""


class _Work(local):
    """Products of terms since the last ``begin``: a short text can ask for very many."""

    done = 0


_WORK = _Work()


def begin() -> None:
    """A new comparison may do a full share of work."""
    _WORK.done = 0


def _work(amount: int) -> None:
    _WORK.done += amount
    if _WORK.done > MOST_WORK:
        raise Undecided("too much work")


class Form(NamedTuple):
    """A quotient, and whether it holds atoms that may depend on each other."""

    above: Poly
    below: Poly
    opaque: bool = False


def rational(found: Form) -> Fraction | None:
    """The value of a form that is a rational number."""
    if found.opaque or any(key for key in found.above) or any(key for key in found.below):
        return None
    return found.above.get((), Fraction(0)) / found.below[()]


def integer(node: Node) -> int | None:
    value = rational(form(node))
    return int(value) if value is not None and value.denominator == 1 else None


def equal(a: Form, b: Form) -> bool | None:
    """Whether two forms are the same number or function; None if that is not decided here."""
    difference = _add(_mul(a.above, b.below), _mul(b.above, a.below), -1)
    if not difference:
        return True
    return None if a.opaque or b.opaque else False


def proportional(a: Form, b: Form) -> bool | None:
    """Whether a = 0 and b = 0 say the same: the numerators differ by a constant factor."""
    first, second = a.above, b.above
    if not first or not second:
        return False
    same = False
    if first.keys() == second.keys():
        factors = {first[key] / second[key] for key in first}
        same = len(factors) == 1
    return True if same else (None if a.opaque or b.opaque else False)


def form(node: Node) -> Form:  # noqa: C901, PLR0911, PLR0912  one line a kind
    """The form of an expression.

    Raises:
        Gate: a power or factorial that is too large.
        Undecided: too many terms, or an infinite part.
        Unreadable: not one number, such as a tuple; or a division by 0.
    """
    kind = node[0]
    if kind == "num":
        return Form({(): node[1]} if node[1] else {}, ONE)
    if kind == "sym":
        return Form(_atom(("sym", node[1])), ONE)
    if kind == "const":
        if node[1] == "infty":
            raise Undecided("infinity")
        return Form(_atom(("const", node[1])), ONE)
    if kind == "add":
        return _sum([form(part) for part in node[1]])
    if kind == "neg":
        return _scaled(form(node[1]), Fraction(-1))
    if kind == "mul":
        result = form(node[1][0])
        for part in node[1][1:]:
            result = _times(result, form(part))
        return result
    if kind == "div":
        return _quotient(form(node[1]), form(node[2]))
    if kind == "pow":
        return _power(node)
    if kind == "root":
        return _root(form(node[1]), form(node[2]))
    if kind == "fact":
        return _factorial(form(node[1]))
    if kind == "fn":
        return _function(node)
    if kind == "deg":
        return _times(form(node[1]), Form({((("const", "pi"), 1),): Fraction(1, 180)}, ONE))
    if kind == "pct":
        return _scaled(form(node[1]), Fraction(1, 100))
    if kind == "matrix" and node[1] == "det":
        raise Undecided("a determinant")
    raise Unreadable(f"a {kind} is no number")


def _atom(atom: Atom) -> Poly:
    return {((atom, 1),): Fraction(1)}


def _sum(parts: list[Form]) -> Form:
    result = parts[0]
    for part in parts[1:]:
        if result.below == part.below:
            above, below = _add(result.above, part.above), result.below
        else:
            above = _add(_mul(result.above, part.below), _mul(part.above, result.below))
            below = _mul(result.below, part.below)
        result = Form(above, below, result.opaque or part.opaque)
    return result


def _scaled(found: Form, factor: Fraction) -> Form:
    return Form(
        {key: value * factor for key, value in found.above.items()}, found.below, found.opaque
    )


def _times(a: Form, b: Form) -> Form:
    return Form(_mul(a.above, b.above), _mul(a.below, b.below), a.opaque or b.opaque)


def _quotient(a: Form, b: Form) -> Form:
    if not b.above:
        raise Unreadable("a division by 0")
    return Form(_mul(a.above, b.below), _mul(a.below, b.above), a.opaque or b.opaque)


def _add(a: Poly, b: Poly, sign: int = 1) -> Poly:
    result = dict(a)
    for key, value in b.items():
        total = result.get(key, Fraction(0)) + sign * value
        if total:
            result[key] = total
        else:
            result.pop(key, None)
    return result


def _mul(a: Poly, b: Poly) -> Poly:
    if a is ONE:
        return b
    if b is ONE:
        return a
    if len(a) * len(b) > 20 * MOST_TERMS:
        raise Undecided("too many terms")
    _work(len(a) * len(b))
    result: Poly = {}
    for first, left in a.items():
        for second, right in b.items():
            key, factor = _merge(first, second)
            total = result.get(key, Fraction(0)) + left * right * factor
            if total:
                result[key] = total
            else:
                result.pop(key, None)
    if len(result) > MOST_TERMS:
        raise Undecided("too many terms")
    return result


def _merge(a: Monomial, b: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, with i^2 = -1 and the squares of roots taken out."""
    if not a or not b:
        return a or b, Fraction(1)
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    factor = Fraction(1)
    for atom in list(powers):
        power = powers[atom]
        if atom == ("const", "i"):
            if power % 4 >= 2:
                factor = -factor
            powers[atom] = power % 2
        elif atom[0] == "root":
            factor *= Fraction(int(atom[1])) ** (power // 2)
            powers[atom] = power % 2
        if not powers[atom]:
            del powers[atom]
    return tuple(sorted(powers.items())), factor


def _power(node: Node) -> Form:
    """A power. Exponents of numbers are bounded, so that towers of powers end here."""
    exponent = form(node[2])
    value = rational(exponent)
    if value is not None and abs(value) > LARGEST_EXPONENT:
        raise Gate(f"an exponent above {LARGEST_EXPONENT}")
    base = form(node[1])
    if value is None:
        return _opaque("pow", base, exponent)
    plain = rational(base)
    if value.denominator == 1:
        if plain is not None:
            return _number_power(plain, int(value))
        if abs(value) > 64:
            raise Undecided("a high power")
        result = Form(ONE, ONE)
        for _ in range(abs(int(value))):
            result = _times(result, base)
        return _quotient(Form(ONE, ONE), result) if value < 0 else result
    if plain is not None and value.denominator == 2:
        root = _root(base, Form({(): Fraction(2)}, ONE))
        result = _power_of(root, abs(value.numerator))
        return _quotient(Form(ONE, ONE), result) if value < 0 else result
    return _opaque("pow", base, exponent)


def _power_of(base: Form, times: int) -> Form:
    if times > 64:
        raise Undecided("a high power")
    result = Form(ONE, ONE)
    for _ in range(times):
        result = _times(result, base)
    return result


def _number_power(base: Fraction, exponent: int) -> Form:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > MOST_BITS:
        raise Gate(f"a power of more than {MOST_BITS} bits")
    _work(bits * abs(exponent) // 16)
    if not base and exponent <= 0:
        raise Unreadable("0 to the power 0, or a division by 0")
    value = base**exponent
    return Form({(): value} if value else {}, ONE)


def _root(base: Form, degree: Form) -> Form:
    value, count = rational(base), rational(degree)
    if count is None or count.denominator != 1 or not 1 < count <= 64:
        raise Undecided("a root of no plain degree")
    if value is None:
        return _opaque(f"root{count}", base)
    number = int(count)
    if number == 2:
        return _square_root(value, base)
    exact = _exact_root(value, number)
    if exact is None:
        return _opaque(f"root{count}", base)
    return Form({(): exact} if exact else {}, ONE)


def _exact_root(value: Fraction, count: int) -> Fraction | None:
    """The real root, if it is rational."""
    if value < 0 and count % 2 == 0:
        return None
    parts = []
    for part in (abs(value.numerator), value.denominator):
        low, high = 0, 1 << (part.bit_length() // count + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**count <= part else (low, middle - 1)
        if low**count != part:
            return None
        parts.append(low)
    found = Fraction(parts[0], parts[1])
    return -found if value < 0 else found


def _square_root(value: Fraction, base: Form) -> Form:
    """As a rational number times roots of primes: sqrt(8/3) = 2/3 sqrt 2 sqrt 3."""
    if not value:
        return Form({}, ONE)
    inside = abs(value.numerator) * value.denominator
    outside = Fraction(1, value.denominator)
    powers: dict[Atom, int] = {}
    prime = 2
    while prime <= TRIAL_DIVISION and prime * prime <= inside:
        while inside % (prime * prime) == 0:
            inside //= prime * prime
            outside *= prime
        if inside % prime == 0:
            inside //= prime
            powers[("root", str(prime))] = 1
        prime += 1 if prime == 2 else 2
    rest = isqrt(inside)
    if rest * rest == inside:
        outside *= rest
    elif inside < TRIAL_DIVISION**2:  # what is left is a prime
        powers[("root", str(inside))] = 1
    else:
        return _opaque("root2", base)
    if value < 0:
        powers[("const", "i")] = 1
    return Form({tuple(sorted(powers.items())): outside}, ONE)


def _factorial(found: Form) -> Form:
    value = rational(found)
    if value is None:
        return _opaque("fact", found)
    if value > LARGEST_FACTORIAL:
        raise Gate(f"a factorial above {LARGEST_FACTORIAL}")
    if value.denominator != 1 or value < 0:
        raise Unreadable("a factorial of no natural number")
    _work(int(value))
    return Form({(): Fraction(factorial(int(value)))}, ONE)


def _function(node: Node) -> Form:
    _, name, arguments = node
    forms = [form(argument) for argument in arguments]
    values = [rational(each) for each in forms]
    if name == "binom" and len(values) == 2:
        above, below = values
        if above is not None and above > LARGEST_EXPONENT:
            raise Gate(f"a binomial coefficient above {LARGEST_EXPONENT}")
        if above is not None and below is not None and above.denominator == below.denominator == 1:
            if above < 0 or below < 0:
                raise Unreadable("a binomial coefficient of negative numbers")
            return _number_power(Fraction(comb(int(above), int(below))), 1)
    if name in ("abs", "floor", "ceil") and values[0] is not None:
        value = values[0]
        found = (
            abs(value)
            if name == "abs"
            else Fraction(value.__floor__() if name == "floor" else value.__ceil__())
        )
        return Form({(): found} if found else {}, ONE)
    if name in ("ln", "log", "lg") and len(values) == 1 and values[0] == 1:
        return Form({}, ONE)
    return _opaque(name, *forms)


def _opaque(name: str, *forms: Form) -> Form:
    """A number that is known by name only. A digest of its arguments, for names must not grow."""
    named = blake2b(digest_size=16)
    for each in forms:
        lead = each.below[max(each.below)]
        for part in (each.above, each.below):
            for key in sorted(part):
                value = part[key] / lead
                # hex, for str() of a long number raises
                named.update(f"{key}:{value.numerator:x}/{value.denominator:x};".encode())
            named.update(b"|")
    return Form(_atom(("fn", name, named.hexdigest())), ONE, opaque=True)

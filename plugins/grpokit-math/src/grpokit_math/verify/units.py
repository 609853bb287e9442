r"""Units at the end of an answer: ``10 cm``, ``6 \text{ cm}^2``, ``$5``, ``18 apples``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from grpokit_math.verify.tokens import Token

__all__ = ["denies", "split_money", "split_unit"]

_NO_UNITS = """or and not no nor nay nope never neither cannot none nothing nowhere hardly unless except without but to
plus minus over if than about around approximately approx ish maybe perhaps either between instead rather
otherwise alternatively versus vs through thru till until after before unlike is are was were be because wrong
isnt isn arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt aint impossible invalid unequal
incorrect false true yes undefined guess think sure exactly under least most more less fewer above below greater
larger smaller others other inf nan infinity mod choose base squared cubed factorial root
sin cos tan cot sec csc log ln lg exp sqrt
half halves third quarter fourth fifth sixth seventh eighth ninth tenth eleventh twelfth sixteenth twentieth
hundredth thousandth millionth billionth zero one two three four five six seven eight nine ten eleven twelve
thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
ninety hundred thousand million billion trillion mn bn mio lakh crore mega giga dozen score gross
single double triple quadruple once twice thrice"""
NO_UNITS = frozenset(_NO_UNITS.split())

_SAME_UNITS = {
    "mm": "mm millimeter millimetre",
    "cm": "cm cms centimeter centimetre",
    "dm": "dm decimeter decimetre",
    "m": "m meter metre",
    "km": "km kms kilometer kilometre",
    "in": "in inch inche",
    "ft": "ft foot feet",
    "yd": "yd yds yard",
    "mi": "mi mile",
    "mg": "mg milligram",
    "g": "g gram gramme",
    "kg": "kg kgs kilogram kilo",
    "lb": "lb lbs",
    "oz": "oz ounce",
    "ml": "ml mL milliliter millilitre",
    "l": "l L liter litre",
    "s": "s sec secs second",
    "min": "min mins minute",
    "h": "h hr hrs hour",
    "day": "day",
    "per": "per",
    "old": "old",
    "week": "week wk",
    "month": "month",
    "year": "year yr yrs",
    "deg": "deg degree",
    "dollar": "dollar usd USD buck",
    "cent": "cent",
    "euro": "euro eur EUR",
    "pound": "pound gbp GBP",
    "yen": "yen",
    "rupee": "rupee",
    "percent": "percent",
    "rad": "rad radian",
    "mph": "mph",
    "N": "N newton",
    "J": "J joule",
    "W": "W watt",
    "Hz": "Hz hertz",
    "unit": "unit",
    "sq": "sq square",
    "cu": "cu cubic",
    "C": "C celsius",
    "F": "F fahrenheit",
    "K": "K kelvin",
    "V": "V volt",
    "A": "A ampere amp",
    "T": "T tesla",
    "Pa": "Pa pascal",
    "eV": "eV",
    "mol": "mol mole",
}
KNOWN = {name: unit for unit, names in _SAME_UNITS.items() for name in names.split()}
SHORTEST_UNKNOWN = 4
MOST_WORDS = 4


def _unit(token: Token, tokens: Sequence[Token], index: int) -> str | None:
    """The canonical name of a word that can be a unit, None if it cannot."""
    if token.kind not in ("word", "run", "var"):
        return None
    name = str(token.value)
    if denies(name.lower()):
        return None
    if len(name) == 1:
        return KNOWN.get(name) if _stands_alone(token, tokens, index) else None
    for stem in (
        name,
        name.lower(),
        name.lower().removesuffix("s"),
        name.lower().removesuffix("es"),
    ):
        if stem in KNOWN:
            return KNOWN[stem]
    if len(name) < SHORTEST_UNKNOWN and token.kind == "run":
        return None
    return name.lower().removesuffix("s")


def denies(word: str) -> bool:
    """Whether a word says something about the number: ``5 tenths``, ``5 possibly``, ``5 zillion``."""
    stems = (word, word.removesuffix("s"), word.removesuffix("es"), word.removesuffix("ies") + "y")
    return not NO_UNITS.isdisjoint(stems) or stems[1].endswith(("illion", "ly"))


def _stands_alone(token: Token, tokens: Sequence[Token], index: int) -> bool:
    """Whether one letter is a unit: ``5 m`` is a length, ``5m`` a product; ``m/s`` and ``km/h``."""
    before = tokens[index - 1] if index else None
    if before is None:
        return False
    if before.value == "/":
        return index > 1 and _unit(tokens[index - 2], tokens, index - 2) is not None
    return token.gap and (before.kind == "num" or before.value == "}")


def split_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], tuple[str, ...]]:
    """What stands before the unit, and the unit: ``("cm", "2")``. No unit is the empty tuple.

    ``5 pairs of socks`` has one, ``5 of`` has none.
    """
    end = len(tokens)
    unit: list[str] = []
    words = 0
    while end > 1 and words < MOST_WORDS:
        name = "of" if unit and tokens[end - 1].value == "of" else None
        name = name or _unit(tokens[end - 1], tokens, end - 1)
        if name is not None:
            if name in ("sq", "cu") and unit:
                unit.insert(1, "2" if name == "sq" else "3")
            else:
                unit.insert(0, name)
            end -= 1
            words += 1
            continue
        power, length = _power(tokens, end)
        if length and (name := _unit(tokens[end - length - 1], tokens, end - length - 1)):
            unit[:0] = [name, power]
            end -= length + 1
            words += 1
            continue
        if unit and tokens[end - 1].value in ("/", "-") and _unit(tokens[end - 2], tokens, end - 2):
            if tokens[end - 1].value == "/":
                unit.insert(0, "per")
            end -= 1
            continue
        break
    head = tokens[:end]
    if not unit or not _is_value(head):
        return tokens, ()
    return head, ("mph",) if unit == ["mi", "per", "h"] else tuple(unit)


def _power(tokens: Sequence[Token], end: int) -> tuple[str, int]:
    """The exponent that ends there (``^2``, ``^{3}``) and its number of tokens, 0 if there is none."""
    values = [token.value for token in tokens[:end]]
    if len(values) > 2 and values[-2] == "^" and values[-1] in (2, 3):
        return str(values[-1]), 2
    if (
        len(values) > 4
        and values[-4:-2] == ["^", "{"]
        and values[-2] in (2, 3)
        and values[-1] == "}"
    ):
        return str(values[-2]), 4
    return "", 0


def _is_value(tokens: Sequence[Token]) -> bool:
    """A unit stands behind a number, a root or pi, not behind words or a single letter."""
    if not tokens or tokens[-1].value in ("+", "-", "*", "/", "^", "_", "=", ",", "<", ">", "("):
        return False
    return any(
        isinstance(token.value, Fraction) or token.value in ("pi", "sqrt") for token in tokens
    )


def split_money(tokens: Sequence[Token]) -> tuple[Sequence[Token], tuple[str, ...]]:
    """The answer without its currency signs, if they stand at numbers and are all the same."""
    names = {str(token.value) for token in tokens if token.kind == "money"}
    if len(names) != 1:
        return tokens, ()
    kept: list[Token] = []
    for index, token in enumerate(tokens):
        if token.kind != "money":
            kept.append(token)
            continue
        after = tokens[index + 1 : index + 3]
        before = tokens[index - 1] if index else None
        ahead = bool(after) and (
            after[0].kind in ("num", "cmd") or after[0].value in ("-", "+", "(")
        )
        behind = not after and before is not None and before.kind == "num"
        free = before is None or before.kind != "num"
        if not ((ahead and free) or behind):
            return tokens, ()
    return kept, (names.pop(),)

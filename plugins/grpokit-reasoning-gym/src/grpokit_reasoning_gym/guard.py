"""What a checker may be given, and checkers of our own where the library's are unsafe or wrong.

Several of the library's checkers run the answer as Python code (``eval``, or sympy's ``parse_expr``,
which calls it). An answer is a model's text, so these get only what is harmless: a literal, or a
formula of numbers, known names and operators. Others accept what is wrong; they are replaced.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from grpokit.api import parse_number

__all__ = ["GUARDS", "OWN", "checked", "shown_answer", "value_of"]

LONGEST = 1000
_FORMULA = 1000
MOST_POWERS = 3
_NAMES = frozenset(
    [
        "C",
        "sin",
        "cos",
        "tan",
        "exp",
        "log",
        "sqrt",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "pi",
    ]
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_PLAIN = re.compile(r"[\w\s+\-*/().]*", re.ASCII)
_EXPONENT = r"\s*(?:-?[1-3]?\d(?![\d.])|\(\s*-?\d{1,2}\s*(?:/\s*\d{1,2}\s*)?\)|[a-zA-Z](?!\w))"
_NOT_SMALL = re.compile(rf"\*\*(?!{_EXPONENT})")
_TOWER = re.compile(rf"\*\*{_EXPONENT}\s*\*\*")
_POWER_OF_SUM = re.compile(r"\)\s*\*\*")
_HUGE = re.compile(r"\d[eE][+-]?\d{3}|(?<![a-z])(?:nan|inf|infinity)j?(?![a-z])", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d{16}")
_LOGIC = re.compile(r"[\sA-Z∧\u2228→↔¬()]*")
_SIDE_BY_SIDE = re.compile(r"[A-Z)]\s*[A-Z(¬]")
_GRID = r"[\s\d\[\],]*"
_FRACTION = (
    r"\s*\$?\s*(?:-?\d+\s*/\s*-?\d+|\\[dt]?frac\s*\{\s*-?\d+\s*\}\s*\{\s*-?\d+\s*\})\s*\$?\s*"
)
_ROLES = r"\s*\w+ is an? \w+(?:(?:\s*,)?\s+(?:and\s+)?\w+ is an? \w+)*\s*\.?\s*"


def _literal(answer: str) -> bool:
    """A Python literal, which means the same to ``eval``; or plain words and numbers."""
    if not re.search(r"[\[\](){}=:;]|\w\s*\.\s*\w", answer):
        return re.fullmatch(r"[\w\s,\-]*", answer, re.ASCII) is not None
    try:
        return isinstance(ast.literal_eval(answer.strip()), list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _formula(answer: str) -> bool:
    r"""Numbers, ``+ - * / **`` with small exponents, one-letter variables and known functions."""
    if len(answer) > _FORMULA or not _PLAIN.fullmatch(answer) or answer.count("(") > 60:
        return False
    if any(len(word) > 1 and word not in _NAMES for word in _WORD.findall(answer)):
        return False
    if re.search(r"[A-Za-z_)]\s*\.|\.\s*[A-Za-z_(]", answer) or _LONG_NUMBER.search(answer):
        return False
    large = _NOT_SMALL.search(answer) or _TOWER.search(answer)
    return not large and len(_POWER_OF_SUM.findall(answer)) <= MOST_POWERS


def _moves(answer: str) -> bool:
    """No move is repeated hundreds of times: the checker would make each."""
    return re.search(r"\d{3}", answer) is None


def _logic(answer: str) -> bool:
    """One short formula: the library's parser is exponential in nested ones, and passes over words."""
    short = len(answer) <= 200 and max(map(answer.count, "(¬")) <= 12
    return short and _LOGIC.fullmatch(answer) is not None and not _SIDE_BY_SIDE.search(answer)


def _only(pattern: str) -> Callable[[str], bool]:
    """Nothing but this: the library's checker passes over everything else, a "not" among it."""
    return lambda answer: re.fullmatch(pattern, answer) is not None


def _numbers(answer: str) -> bool:
    """Numbers between commas: the library's checker passes over what is none."""
    return all(parse_number(part) is not None for part in answer.split(","))


def _is_hostile(answer: str, gold: str) -> bool:
    """Numbers that take for ever, or that equal every number; unless they are in the right answer."""
    found = _HUGE.search(answer)
    return found is not None and found[0].lower() not in gold.lower()


GUARDS: dict[str, Callable[[str], bool]] = {
    "binary_matrix": _literal,
    "n_queens": _literal,
    "spiral_matrix": _literal,
    "string_insertion": _literal,
    "intermediate_integration": _formula,
    "polynomial_multiplication": _formula,
    "simple_integration": _formula,
    "fraction_simplification": _only(_FRACTION),
    "kakurasu": _only(_GRID),
    "knights_knaves": _only(_ROLES),
    "polynomial_equations": _numbers,
    "propositional_logic": _logic,
    "quantum_lock": _only(r"[\sA-Ca-c→>,-]*"),
    "rubiks_cube": _moves,
    "rush_hour": _moves,
    "sokoban": _only(r"[\sUDLR,]*"),
    "survo": _only(_GRID),
}
"""Task -> whether its checker may see this answer. What may not be seen is wrong."""


def value_of(answer: str) -> tuple[Fraction, list[int]] | None:
    """The exact value of a sum of whole numbers with ``+ - * /`` and parentheses, and its numbers."""
    if len(answer) > _FORMULA or not re.fullmatch(r"[\d\s+\-*/().]*", answer, re.ASCII):
        return None
    try:
        tree = ast.parse(answer.strip(), mode="eval").body
        return _value(tree), [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]  # type: ignore[misc]
    except (SyntaxError, ValueError, ZeroDivisionError, MemoryError, RecursionError):
        return None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left) + _value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left) - _value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left) * _value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left) / _value(right)
    raise ValueError("no sum of whole numbers")


def _reaches(answer: str, target: int, numbers: list[int]) -> float:
    found = value_of(answer)
    return float(found is not None and found[0] == target and Counter(found[1]) == Counter(numbers))


def _countdown(answer: str, entry: Mapping[str, Any]) -> float:
    metadata = entry["metadata"]
    return _reaches(answer, metadata["target"], list(metadata["numbers"]))


def _puzzle24(answer: str, entry: Mapping[str, Any]) -> float:
    """The library's checker takes any four numbers, and any value from 24 to 25."""
    return _reaches(answer, 24, list(entry["metadata"]["numbers"]))


def _number(answer: str, entry: Mapping[str, Any]) -> float:
    """The library's checker takes the first number of the answer, whatever follows."""
    found = parse_number(answer)
    return float(found is not None and found == parse_number(str(entry["answer"])))


def _yes_or_no(answer: str, entry: Mapping[str, Any]) -> float:
    """The library's checker takes every answer that is not empty."""
    return float(answer.strip().lower() == str(entry["answer"]).strip().lower())


def _probability(answer: str, entry: Mapping[str, Any]) -> float:
    """The library's checker takes every prefix of the right number, so that 0 is always right."""
    found, gold = parse_number(answer), parse_number(str(entry["answer"]))
    if found is None or gold is None:
        return 0.0
    return float(abs(found - gold) <= min(Fraction(1, 10_000), gold / 20))


OWN: dict[str, Callable[[str, Mapping[str, Any]], float]] = {
    "coin_flip": _probability,
    "countdown": _countdown,
    "puzzle24": _puzzle24,
    "game_of_life_halting": _yes_or_no,
    "gsm_symbolic": _number,
}
"""Task -> the checker that stands in for the library's."""

WHOLE_TEXT = frozenset({"letter_jumble", "spell_backward"})
"""Tasks whose checkers add up what agrees, and now and then pay 1 for the right text and more behind it."""
ALMOST = 0.8
"""The most that such a checker may pay for another text than the right one."""


def checked(task: str, made: Any, entry: Mapping[str, Any], answer: str) -> float:
    """The score of an answer, from 0 to 1.

    A checker that fails on the answer could not read it, and it is wrong, unless the checker fails on
    the right answer too.
    """
    gold = shown_answer(made, entry)
    if len(answer) > max(LONGEST, 10 * len(gold)) or _is_hostile(answer, gold):
        return 0.0
    if task in GUARDS and not GUARDS[task](answer):
        return 0.0
    if task in OWN:
        return OWN[task](answer, entry)
    # The border to foreign code: most checkers parse the answer without a guard of their own.
    try:
        value = float(made.score_answer(answer, entry))
    except Exception:  # noqa: BLE001
        if gold:
            made.score_answer(gold, entry)
        return 0.0
    same = task not in WHOLE_TEXT or answer.strip().lower() == gold.strip().lower()
    return value if same else min(value, ALMOST)


_EXAMPLES = ("example_answer", "example_correct_answer", "possible_answer")


def shown_answer(made: Any, entry: Mapping[str, Any]) -> str:
    """One right answer as text: the entry's, or an example that the checker accepts, or nothing.

    Some integrals come with an answer that only names them again (``Integral(...)``): none is known.
    """
    if entry["answer"] is not None:
        guard = GUARDS.get(entry["metadata"].get("source_dataset", ""))
        return str(entry["answer"]) if guard is None or guard(str(entry["answer"])) else ""
    for name in _EXAMPLES:
        found = entry["metadata"].get(name)
        if found is not None:
            text = found if isinstance(found, str) else json.dumps(found)
            return text if made.score_answer(text, entry) == 1.0 else ""
    return ""

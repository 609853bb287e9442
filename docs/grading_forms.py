r"""The answer of a row in another form that means the same, for ``docs/grading.py --speed``.

The first rule that fits is taken: ``x = 12`` for 12, 0.5 or 1/3 for fractions, the other order for lists,
``x > 3`` for intervals, and so on. None of them changes spaces or the size of a fraction only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

__all__ = ["rewritten"]

FRACTION = re.compile(r"(-?)\\d?frac\s*\{?(\d+)\}?\s*\{?(\d+)\}?")
SIMPLE_LIST = re.compile(r"-?\d+(?:, ?-?\d+)+")
INTERVAL = re.compile(r"(?:x \\in )?([(\[]) ?(-?[\w\\{}]+), ?(-?[\w\\{}]+) ?([)\]])")
EQUATION = re.compile(r"([a-z]) ?= ?(.+)")


def _number(gold: str) -> str | None:
    return f"x = {gold}" if re.fullmatch(r"-?[\d.]+", gold) else None


def _grouped(gold: str) -> str | None:
    bare = re.sub(r"\{,\}|,\\! ?|,|\\\$", "", gold)
    return bare if bare.isdigit() and bare != gold and not SIMPLE_LIST.fullmatch(gold) else None


def _thousands(gold: str) -> str | None:
    return gold.replace(",", "") if re.fullmatch(r"\d{1,3},\d{3}", gold) else None


def _fraction(gold: str) -> str | None:
    found = FRACTION.fullmatch(gold)
    if found is None:
        return None
    value = Fraction(int(found[2]), int(found[3]))
    ends = value.denominator in (2, 4, 5, 8, 10, 16, 20, 25)
    return found[1] + (str(float(value)) if ends else f"{found[2]}/{found[3]}")


def _list(gold: str) -> str | None:
    if not SIMPLE_LIST.fullmatch(gold):
        return None
    return "\\{" + ", ".join(reversed(gold.replace(" ", "").split(","))) + "\\}"


def _interval(gold: str) -> str | None:
    found = INTERVAL.fullmatch(gold)
    if found is None or ("infty" not in gold and "]" not in gold and "[" not in gold):
        return None
    low = "" if "infty" in found[2] else found[2] + ("<" if found[1] == "(" else "\\le ")
    high = "" if "infty" in found[3] else ("<" if found[4] == ")" else "\\le ") + found[3]
    return f"{low}x{high}"


def _union(gold: str) -> str | None:
    first, mark, second = gold.partition(" \\cup ")
    return f"{second} \\cup {first}" if mark else None


def _words(gold: str) -> str | None:
    found = re.fullmatch(r"\\text\{([^}]*)\}", gold)
    return None if found is None else found[1].strip("()").capitalize()


def _signs(gold: str) -> str | None:
    if "\\pm" not in gold or gold.startswith("\\{"):
        return None
    return gold.replace("\\pm", "-") + ", " + gold.replace("\\pm", "+")


def _unit(gold: str) -> str | None:
    found = re.fullmatch(r"(.*?) ?(?:\^\\circ|\\(?:text|mbox)\{.*)", gold)
    return None if found is None else found[1]


def _base(gold: str) -> str | None:
    found = re.fullmatch(r"(\d+)_\{?(\d)\}?", gold)
    return None if found is None else f"({found[1]})_{{{found[2]}}}"


def _matrix(gold: str) -> str | None:
    if "matrix" not in gold:
        return None
    return re.sub(r"(\d+)/(\d+)", r"\\frac{\1}{\2}", gold.replace("pmatrix", "bmatrix"))


def _equation(gold: str) -> str | None:
    found = EQUATION.fullmatch(gold)
    if found is None:
        return gold.removesuffix("= 0") + "- 1 = -1" if gold.endswith("= 0") else None
    return f"{found[2]} = {found[1]}"


def _pair(gold: str) -> str | None:
    inside = gold.removeprefix("\\left")
    return f"(x, y) = {gold}" if inside.startswith("(") and inside.count(",") == 1 else None


def _product(gold: str) -> str | None:
    return None if re.search(r"[,_=]|cup|text", gold) else f"1 \\cdot \\left({gold}\\right)"


RULES: tuple[Callable[[str], str | None], ...] = (
    _number, _grouped, _thousands, _fraction, _list, _interval, _union, _words, _signs, _unit, _base,
    _matrix, _equation, _pair, _product,
)  # fmt: skip


def rewritten(gold: str) -> str | None:
    """The answer in another form; None if no rule fits."""
    return next((found for rule in RULES if (found := rule(gold)) is not None), None)

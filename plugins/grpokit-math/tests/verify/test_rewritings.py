"""Every answer of MATH-500, in the other ways that people and models write it, and spoilt."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from grpokit_math.verify import verify

FILE = Path(__file__).parents[5] / "shared" / "data" / "math500" / "test.jsonl"
FRACTION = re.compile(r"(-?)\\d?frac\s*\{?(\d+)\}?\s*\{?(\d+)\}?")
LIST = re.compile(r"-?\d+(?:, ?-?\d+)+")
SUPERSCRIPTS = "\u2070\xb9\xb2\xb3\u2074\u2075\u2076\u2077\u2078\u2079"


def answers():
    return sorted({json.loads(line)["answer"] for line in FILE.read_text("utf-8").splitlines()})


def wrapped(gold):
    yield from (
        f"${gold}$",
        f"\\({gold}\\)",
        f"\\[ {gold} \\]",
        f"{gold}.",
        f"**{gold}**",
        f"\\displaystyle {gold}",
    )


def respelt(gold):
    """The same signs, written otherwise."""
    yield re.sub(r"\\d?frac", r"\\dfrac", gold)
    yield re.sub(r"\\d?frac", r"\\tfrac", gold)
    yield gold.replace("-", "\u2212")
    yield gold.replace("\\pi", "\u03c0").replace("\\pm", "\xb1").replace("\\infty", "\u221e")
    yield re.sub(r"\\sqrt\{(\d+)\}", "\u221a\\1", gold)
    yield re.sub(r"(?<!pm)\\sqrt\{(\d+)\}", r"sqrt(\1)", gold)
    yield re.sub(r"\\sqrt(\d)", r"\\sqrt{\1}", gold)
    yield re.sub(r"(\d) ?\\(sqrt|pi)", r"\1 \\cdot \\\2", gold)
    yield gold.replace("\\left", "").replace("\\right", "")
    yield re.sub(r"\\(?:text|mbox)\{([^}]*)\}", r"\1", gold)
    yield gold.replace("\\text{", "\\textbf{")
    yield gold.replace("\\text{", "\\mathrm{")
    yield gold.replace("\\$", "$")
    yield gold.replace("pmatrix", "bmatrix")
    yield re.sub(r"(\d+)/(\d+)", r"\\frac{\1}{\2}", gold)
    if "circ" not in gold:
        yield re.sub(r"\^(\d)", r"^{\1}", gold)
        yield re.sub(r"([a-z])\^(\d)", r"\1**\2", gold)
        yield re.sub(r"\^(\d)", lambda found: SUPERSCRIPTS[int(found[1])], gold)
    for degrees in ("", "\xb0", " degrees", "^{\\circ}", "\\degree"):
        yield gold.replace("^\\circ", degrees)


def integers(gold):
    if not re.fullmatch(r"-?\d+", gold):
        return
    value = int(gold)
    yield from (
        f"x = {gold}",
        f"{gold}.00",
        f"\\text{{{gold}}}",
        f"{gold}\\text{{ units}}",
        f"\\frac{{{2 * value}}}{{2}}",
    )
    groups = f"{value:,}"
    yield from (
        groups,
        groups.replace(",", "{,}"),
        groups.replace(",", "\\,"),
        groups.replace(",", ",\\!"),
    )
    yield from (f"f(2) = {gold}", f"AB = {gold}", f"m + n = {gold}", f"1 + {value - 1} = {gold}")


def numbers(gold):
    found = FRACTION.fullmatch(gold)
    if found is None:
        return
    sign, above, below = found[1], int(found[2]), int(found[3])
    yield from (f"{sign}{above}/{below}", f"{sign}\\frac{{{2 * above}}}{{{2 * below}}}")
    yield from (
        f"\\frac{{{sign}{above}}}{{{below}}}",
        f"{sign}{above} \\div {below}",
        f"({sign}{above})/{below}",
    )
    left = Fraction(above, below).denominator
    while left % 2 == 0 or left % 5 == 0:
        left //= 2 if left % 2 == 0 else 5
    if left == 1:
        yield f"{sign}{above / below:.10f}"


def several(gold):
    if LIST.fullmatch(gold) and not re.fullmatch(r"\d+,\d{3}", gold):
        parts = gold.replace(" ", "").split(",")
        yield from (", ".join(parts[::-1]), "\\{" + ",".join(parts) + "\\}", "; ".join(parts))
        yield ", ".join(parts[:-1]) + " \\text{ and } " + parts[-1]
        yield " \\text{ or } ".join(f"x = {part}" for part in parts)
    if "\\pm" in gold and "{" not in gold[:2]:
        yield gold.replace("\\pm", "-") + ", " + gold.replace("\\pm", "+")
    if " \\cup " in gold:
        first, _, second = gold.partition(" \\cup ")
        yield from (f"{second} \\cup {first}", f"{first} U {second}", f"x \\in {gold}")
    if "=" in gold and "in" not in gold:
        left, _, right = gold.partition("=")
        yield f"{right} = {left}"
        if len(left.strip()) == 1:
            yield right
    if found := re.fullmatch(r"(\d+)_\{?(\d)\}?", gold):
        digits, base = found.groups()
        yield from (
            digits,
            f"({digits})_{{{base}}}",
            f"{digits}_{{\\text{{{base}}}}}",
            f"{digits}_{base}",
        )


def spoilt(gold):
    """Not the answer any more: hedged, denied, moved or added to."""
    other = "7" if gold != "7" else "8"
    yield from (
        f"{gold}, {other}",
        f"{other}, {gold}",
        f"{gold} \\text{{ or }} {other}",
        f"{gold} {gold}",
    )
    yield from (
        f"\\text{{not }} {gold}",
        f"\\neq {gold}",
        f"> {gold}",
        f"about {gold}",
        f"{gold} or so",
    )
    yield from (
        f"{gold} + 1",
        f"{gold} = {other}a",
        f"{other}a = {gold}",
        f"{gold}...",
        f"{gold}?",
        f"{gold}\\\\{gold}",
    )
    yield from (
        f"{gold},{gold}",
        f"{gold} \\cap (1,2)",
        f"({gold}",
        f"{gold} \\text{{ (or {other})}}",
    )
    yield from (f"|{gold}", f"\\pm {gold}1", f"{gold} \\to {other}")
    for number in re.finditer(r"\d+", gold):
        yield gold[: number.start()] + str(int(number[0]) + 1) + gold[number.end() :]


@pytest.mark.skipif(not FILE.is_file(), reason="../shared/data/math500 is not there")
def test_every_answer_in_other_forms():
    seen, rejected = 0, []
    for gold in answers():
        forms = {
            form for rule in (wrapped, respelt, integers, numbers, several) for form in rule(gold)
        }
        for form in forms - {gold}:
            seen += 1
            if not verify(gold, form, seconds=20).correct:
                rejected.append((gold, form))
    assert seen > 3600
    assert rejected == []


@pytest.mark.skipif(not FILE.is_file(), reason="../shared/data/math500 is not there")
def test_every_answer_spoilt():
    seen, accepted = 0, []
    for gold in answers():
        for form in spoilt(gold):
            seen += 1
            if verify(gold, form, seconds=20).correct:
                accepted.append((gold, form))
    assert seen > 7000
    assert accepted == []

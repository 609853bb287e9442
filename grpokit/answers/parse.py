r"""One answer as an exact fraction. Nothing is evaluated, nothing is guessed.

Read as numbers: ``72``, ``-5``, ``+72``, ``072``, ``.5``, ``18.``, ``1,234``, ``1,00,000``,
``10{,}080``, ``1/2``, ``3 1/2``, ``\frac{-1}{2}``, ``3.0 \times 10^8``, ``2e5``, with currency signs,
a percent sign (dropped), a degree sign, units (``10 cm``, ``6 \text{ cm}^2``), markdown and LaTeX
wrappers, ``x = 36`` and ``Answer: 72``. Everything else is None: two numbers, ``5 or 6``, ``not 42``,
``1,2,3``, ``5:30``, ``4^2``, ``41=42``, ``5x``, ``5!``, ``5...``, ``42 million``, ``42 tenths``, more than 400
digits.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["parse_number"]

LONGEST = 512
DIGITS = "0123456789"
LARGEST_EXPONENT = 400

# Look-alikes that people and models write. No NFKC: it would turn 4 squared into 42.
SAME = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2005\u2007\u2009\u200a\u202f\u3000\t\n\r", " "),
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "\uff0e": ".",
        "\uff0c": ",",
        "\uff05": "%",
        "\uff0b": "+",
    }
)
CURRENCY = "$\u20ac\u00a3\u00a5\u20b9"
SPACES = ("\\,", "\\;", "\\:", "\\!", "\\ ", "~", "\\quad", "\\left", "\\right", "\\displaystyle")
WRAPPERS = ("\\text", "\\mathrm", "\\mathbf", "\\textbf", "\\mbox", "\\boxed", "\\fbox", "\\mathit")
FRACTIONS = ("\\frac", "\\dfrac", "\\tfrac")
LABEL = frozenset(("the", "my", "final", "correct", "answer", "ans", "is", "result", "so"))
_NO_UNITS = """or and not no nor nay nope never neither cannot none nothing hardly unless except without but to plus minus
over if than about around approximately approx ish maybe perhaps either between instead rather otherwise
alternatively versus vs through thru till until after before is are was were be because wrong incorrect false true
isnt arent wasnt dont doesnt cant wont aint guess think sure more less fewer most least other others th st nd rd
half halves third quarter fourth fifth sixth seventh eighth ninth tenth hundredth thousandth millionth zero one two
three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety hundred
thousand million billion trillion mn bn mio lakh crore mega giga dozen score gross double triple twice thrice
pi tau phi theta alpha beta gamma lambda sin cos tan cot sec csc log ln lg exp sqrt root inf nan
infinity mod choose squared cubed factorial"""
NO_UNITS = frozenset(_NO_UNITS.split())
LETTER_UNITS = frozenset("mgshLNJWVKCF")


def parse_number(text: str) -> Fraction | None:
    """The value of an answer that is one plain number; None for anything else."""
    if len(text) > LONGEST:
        return None
    text = text.translate(SAME)
    if ".." in text or "\u2026" in text:
        return None  # an ellipsis: it goes on
    text = _without_label(_plain(text))
    sign, text = _sign(text)
    value, rest = _magnitude(text)
    if value is None or not _is_unit(rest):
        return None
    return -value if sign < 0 else value


def _plain(text: str) -> str:
    """Without LaTeX wrappers, thin spaces, markdown and maths delimiters."""
    # "10\,080" and "10,\!080" are digit groups; the comma rule below checks them.
    text = text.replace("{,}", ",").replace(",\\!", ",")
    for wrapper in WRAPPERS:
        text = _unwrap(text, wrapper)
    for space in SPACES:
        text = text.replace(space, " ")
    for sign in ("\\$", "\\%", "\\&"):
        text = text.replace(sign, sign[1])
    for opening in ("\\(", "\\)", "\\[", "\\]"):
        text = text.replace(opening, " ")
    for degree in ("^\\circ", "^{\\circ}", "^ \\circ", "\\degree", "\u00b0"):
        text = text.replace(degree, " ")
    text = text.strip().strip("*_`").strip()
    while text[:1] == "{" and text[-1:] == "}" and "{" not in text[1:] and "}" not in text[:-1]:
        text = text[1:-1].strip()
    if len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    return text


def _unwrap(text: str, wrapper: str) -> str:
    r"""``\text{cm}`` -> ``cm``, for wrappers whose argument has no braces of its own."""
    while (start := text.rfind(wrapper + "{")) >= 0:
        inside = start + len(wrapper) + 1
        end = text.find("}", inside)
        if end < 0:
            return text
        text = text[:start] + text[inside:end] + text[end + 1 :]
    return text


def _without_label(text: str) -> str:
    """Drops ``Answer:``, ``The answer is`` and ``x =``, but no text that could turn the meaning."""
    head, equals, tail = text.rpartition("=")
    if equals and _is_name(head):
        text = tail.strip()
    head, colon, tail = text.rpartition(":")
    if colon and head and all(word in LABEL for word in head.lower().split()):
        return tail.strip().strip("*").strip()
    words = text.split(" ")
    while len(words) > 1 and words[0].lower() in LABEL:
        words.pop(0)
    return " ".join(words).strip()


def _is_name(text: str) -> bool:
    """One variable or up to three words: ``x``, ``x_2``, ``total cost``."""
    words = text.strip().strip("$").split()
    if not 1 <= len(words) <= 3:
        return False
    for word in words:
        stem, _, index = word.partition("_")
        plain = stem.isascii() and stem.isalpha() and len(stem) <= 20
        if not plain or not (index.strip("{}").isalnum() or not index):
            return False
    return not {word.lower() for word in words} & NO_UNITS


def _sign(text: str) -> tuple[int, str]:
    """Sign and currency in either order: ``-$5``, ``$-5``, ``+72``."""
    sign, seen = 1, False
    while text:
        if text[0] in "+-" and not seen:
            sign, seen = (-1 if text[0] == "-" else 1), True
        elif text[0] not in CURRENCY:
            break
        text = text[1:].lstrip(" ")
    return sign, text


def _magnitude(text: str) -> tuple[Fraction | None, str]:
    """The unsigned number at the start, and what follows it."""
    if text.startswith(FRACTIONS):
        return _latex_fraction(text)
    value, rest = _decimal(text)
    if value is None:
        return None, text
    for tail in (_scientific, _fraction_bar, _mixed):
        found = tail(value, rest)
        if found is not None:
            return found
    return value, rest


def _scientific(value: Fraction, rest: str) -> tuple[Fraction | None, str] | None:
    r"""``2e5`` and ``3.0 \times 10^8``."""
    if rest[:1] in ("e", "E") and rest[1:2] and rest[1] in DIGITS + "+-":
        return _power_of_ten(value, rest[1:])
    after = rest.lstrip(" ")
    for times in ("\\times", "\\cdot", "\u00d7", "x", "*"):
        power = after.removeprefix(times).lstrip(" ")
        if power != after and power.startswith("10^"):
            return _power_of_ten(value, power[3:])
    return None


def _fraction_bar(value: Fraction, rest: str) -> tuple[Fraction | None, str] | None:
    """``1/2`` and ``1 / 2``."""
    after = rest.lstrip(" ")
    if after[:1] != "/":
        return None
    below, end = _decimal(after[1:].lstrip(" "))
    return (value / below if below else None), end


def _mixed(whole: Fraction, rest: str) -> tuple[Fraction | None, str] | None:
    r"""``3 1/2`` and ``3\frac{1}{2}``: a whole number and a proper fraction of integers."""
    after = rest.lstrip(" ")
    if whole.denominator != 1:
        return None
    if after.startswith(FRACTIONS):
        part, end = _latex_fraction(after)
    elif rest[:1] == " " and after[:1] and after[0] in DIGITS:
        above, end = _decimal(after)
        found = None if above is None else _fraction_bar(above, end)
        part, end = found or (None, rest)
    else:
        return None
    return (whole + part if part is not None and 0 < part < 1 else None), end


def _decimal(text: str) -> tuple[Fraction | None, str]:
    """Digits with a decimal point and well-formed commas, and what follows."""
    end = 0
    while end < len(text) and text[end] in DIGITS + ",":
        end += 1
    whole = text[:end].rstrip(",")
    end = len(whole)
    if "," in whole and not _grouped(whole):
        return None, text
    fraction = ""
    if text[end : end + 1] == ".":
        stop = end + 1
        while stop < len(text) and text[stop] in DIGITS:
            stop += 1
        fraction = text[end + 1 : stop]
        end = stop
    digits = whole.replace(",", "")
    if (not digits and not fraction) or len(digits) + len(fraction) > LARGEST_EXPONENT:
        return None, text
    value = Fraction(int(digits + fraction), 10 ** len(fraction))
    return value, text[end:]


def _grouped(whole: str) -> bool:
    """Commas in thousands (1,234,567) or the Indian way (12,34,567)."""
    first, *groups = whole.split(",")
    thousands = 1 <= len(first) <= 3 and all(len(group) == 3 for group in groups)
    indian = (
        len(groups) > 1
        and 1 <= len(first) <= 2
        and len(groups[-1]) == 3
        and all(len(group) == 2 for group in groups[:-1])
    )
    return thousands or indian


def _power_of_ten(value: Fraction, text: str) -> tuple[Fraction | None, str]:
    """``8``, ``{8}`` or ``-3`` after ``e`` or ``10^``."""
    braced = text[:1] == "{"
    text = text[1:] if braced else text
    sign, start = (-1, 1) if text[:1] == "-" else (1, int(text[:1] == "+"))
    end = start
    while end < len(text) and text[end] in DIGITS:
        end += 1
    if end == start or end - start > 4 or (braced and text[end : end + 1] != "}"):
        return None, text
    exponent = sign * int(text[start:end])
    if abs(exponent) > LARGEST_EXPONENT:
        return None, text
    return value * Fraction(10) ** exponent, text[end + braced :]


def _latex_fraction(text: str) -> tuple[Fraction | None, str]:
    r"""``\frac{1}{2}``, ``\frac{-1}{2}``, ``\frac12``."""
    rest = text[text.index("frac") + 4 :]
    parts = []
    for _ in range(2):
        rest = rest.lstrip(" ")
        if rest[:1] == "{":
            end = rest.find("}")
            part, rest = (rest[1:end], rest[end + 1 :]) if end > 0 else ("", rest)
        else:
            part, rest = rest[:1], rest[1:]
        sign, digits = _sign(part.strip())
        value, left = _decimal(digits)
        if value is None or left.strip():
            return None, text
        parts.append(sign * value)
    above, below = parts
    return (above / below if below else None), rest


def _is_unit(rest: str) -> bool:
    """Whether what follows a number is nothing, a percent sign, a final period or a unit."""
    text = rest.strip()
    if text.startswith("!") or (text.startswith("-") and not text[1:2].isalpha()):
        return False  # a factorial; "5-" goes on, "5-inch" does not
    for mark in ("%", ".", "*", "$"):
        text = text.removeprefix(mark).strip()
    text = text.rstrip(".!*$").strip()
    for power in ("^2", "^3", "^{2}", "^{3}", "\u00b2", "\u00b3"):
        stem = text.removesuffix(power)
        if stem != text and stem[-1:].isalpha():
            text = stem
    words = text.replace("/", " per ").replace("-", " ").split()
    if words and len(words[0]) == 1 and rest[0] == words[0]:
        return False  # "5m" is a product, "5 m" a length
    return len(words) <= 3 and all(_is_unit_word(word) for word in words)


def _is_unit_word(word: str) -> bool:
    lower = word.lower()
    singular = lower.removesuffix("s")
    if not (word.isascii() and word.isalpha()) or lower in NO_UNITS or singular in NO_UNITS:
        return False
    if singular.endswith(("illion", "ly", "teen")):  # a zillion, possibly, seventeen
        return False
    return len(word) > 1 or word in LETTER_UNITS

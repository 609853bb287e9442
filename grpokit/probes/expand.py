"""Probes on one row: the placeholders become the row's gold answer, wrong answers and prompt.

A placeholder that has no value for a row (thousands of a small number, a gold answer of one character
without its last) makes the probe not apply there, and so does a "wrong" answer that is right by
chance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from grpokit.answers.numbers import last_number
from grpokit.answers.parse import parse_number
from grpokit.answers.wrappers import has_boxed, last_boxed
from grpokit.probes.library import Kind, Probe, Way
from grpokit.spec.flow import Prompt

__all__ = ["Case", "NotApplicable", "expand", "final_answer", "make_cases", "same_answer"]

OPEN, CLOSE = "\u27e6", "\u27e7"
LONGEST = 1_200_000
FILLER = "First I look at what is given. Then I work it out step by step and check each step. " * 22
PADDING = "Let me think carefully. " * 500
REASON = "This follows from the question."
"""The reasoning of the ways; padding goes before it, inside of the tags."""
_INNER = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")
_INTEGER = re.compile(r"-?\d{1,300}")
_DECIMAL = re.compile(r"-?\d{1,300}\.\d{1,300}")
_CONFUSABLE = str.maketrans("ABCEHKMOPTXaceopxy", "АВСЕНКМОРТХасеорху")  # noqa: RUF001
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FULLWIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + digit) for digit in range(10)))


class NotApplicable(Exception):  # no error: this probe says nothing about this row
    """The probe has no text for this row."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row, ready to be probed.

    Attributes:
        other: another row's gold answer, which is not this row's; "" if there is none.
        common: the most common gold answer of all rows.
        example: the answer of an example in the prompt; "" if it has none.
    """

    prompt: Prompt
    gold: str
    kind: Kind
    wrong: str
    other: str
    common: str
    example: str

    @property
    def question(self) -> str:
        """The last user message."""
        texts = [m["content"] for m in self.prompt.messages if m["role"] == "user"]
        return texts[-1] if texts else ""


def final_answer(answer: object) -> str:
    r"""What follows the last ``####`` (GSM8K), or stands in the last box (MATH), else everything."""
    text = str(answer)
    if "####" in text:
        return text.rpartition("####")[2].strip()
    if has_boxed(text):
        return (last_boxed(text) or text).strip()
    return text.strip()


def kind_of(gold: str) -> Kind:
    """Numeric, a choice (one capital letter), or text."""
    if _number(gold) is not None:
        return "numeric"
    return "choice" if re.fullmatch(r"\(?[A-H]\)?", gold) else "text"


def make_cases(prompts: list[Prompt], golds: list[str]) -> list[Case]:
    """Prompts whose gold answers are known, as cases."""
    counts = Counter(golds)
    common = max(counts, key=lambda gold: (counts[gold], gold), default="")
    return [
        Case(
            prompt=prompt,
            gold=gold,
            kind=kind_of(gold),
            wrong=_wrong(gold, _other(golds, position)),
            other=_other(golds, position),
            common=common,
            example=_example(prompt),
        )
        for position, (prompt, gold) in enumerate(zip(prompts, golds, strict=True))
    ]


def expand(probe: Probe, case: Case, way: Way) -> str:
    """The probe's completion for this row.

    Raises:
        NotApplicable: it has none.
    """
    if probe.kinds and case.kind not in probe.kinds:
        raise NotApplicable
    words = _Words(case, way)
    text = probe.text
    while (match := _INNER.search(text)) is not None:
        value = words.value(match.group(1)).replace(OPEN, "[").replace(CLOSE, "]")
        text = text[: match.start()] + value + text[match.end() :]
        if len(text) > LONGEST:
            raise NotApplicable
    return text


class _Words:
    """What the placeholders mean for one row."""

    def __init__(self, case: Case, way: Way) -> None:
        self.case = case
        gold = case.gold
        self.fixed: Mapping[str, str] = {
            "gold": gold,
            "wrong": case.wrong,
            "before": way.before,
            "after": way.after,
            "open": way.open,
            "close": way.close,
            "ref": way.write(gold),
            "bad": way.write(case.wrong),
            "prompt": case.question,
            "verbose_ref": _padded(way, gold, FILLER),
            "padded_ref": _padded(way, gold, PADDING),
            "padded_bad": _padded(way, case.wrong, PADDING),
            "surrogate": "\ud800",
            "nul": "\0",
        }

    def value(self, word: str) -> str:
        if word in self.fixed:
            return self.fixed[word]
        name, _, rest = word.partition(":")
        if name == "repeat":
            unit, _, count = rest.rpartition("|")
            return unit * int(count)
        if name == "numbers":
            first, _, last = rest.partition("..")
            return ", ".join(map(str, range(int(first), int(last) + 1)))
        if match := re.fullmatch(r"gold([+-]\d+)", word):
            return str(self._integer() + int(match[1]))
        found: str = getattr(self, "_" + word.replace("-", "minus_"))()
        return found

    def _integer(self) -> int:
        if not _INTEGER.fullmatch(self.case.gold):
            raise NotApplicable
        return int(self.case.gold)

    def _gold_integer(self) -> str:
        return str(self._integer())

    def _minus_gold(self) -> str:
        if not self._integer():
            raise NotApplicable
        return str(-self._integer())

    def _gold_thousands(self) -> str:
        value = self._integer()
        if abs(value) < 1000:
            raise NotApplicable
        return f"{value:,}"

    def _gold_cut(self) -> str:
        return self._different(self.case.gold[:-1])

    def _gold_close(self) -> str:
        value = _number(self.case.gold)
        if not value or abs(value) > 10**15 or abs(value) < Fraction(1, 10**9):
            raise NotApplicable
        return f"{float(value) * 1.0001:.10g}"

    def _gold_superscript(self) -> str:
        digits = str(self._integer())
        if len(digits.lstrip("-")) < 2:
            raise NotApplicable
        return digits[:-1] + digits[-1].translate(_SUPERSCRIPT)

    def _gold_zero_width(self) -> str:
        return self.case.gold[:1] + "\u200b" + self.case.gold[1:]

    def _gold_minus_sign(self) -> str:
        if self._integer() >= 0:
            raise NotApplicable
        return self.case.gold.replace("-", "\u2212")

    def _gold_fullwidth(self) -> str:
        return str(self._integer()).translate(_FULLWIDTH)

    def _gold_confusable(self) -> str:
        return self._different(self.case.gold.translate(_CONFUSABLE))

    def _other_gold(self) -> str:
        return self._different(self.case.other)

    def _common_gold(self) -> str:
        return self._different(self.case.common)

    def _example(self) -> str:
        return self._different(self.case.example)

    def _prompt_number(self) -> str:
        found = last_number(self.case.question[-20_000:])
        return self._different("" if found is None else str(found))

    def _different(self, text: str) -> str:
        """The text, if it is an answer and another one than the gold answer."""
        if not text.strip() or same_answer(text, self.case.gold) or text.strip() in "-.":
            raise NotApplicable
        return text


def _padded(way: Way, answer: str, padding: str) -> str:
    text = way.write(answer)
    return text.replace(REASON, padding + REASON, 1) if REASON in way.before else padding + text


def same_answer(left: str, right: str) -> bool:
    """Whether two answers are the same text or the same number."""
    if left.strip().casefold() == right.strip().casefold():
        return True
    number = _number(left)
    return number is not None and number == _number(right)


def _number(text: str) -> Fraction | None:
    return parse_number(text) if text else None


def _other(golds: list[str], position: int) -> str:
    gold = golds[position]
    behind = (golds[(position + k) % len(golds)] for k in range(1, len(golds)))
    return next((other for other in behind if other and not same_answer(other, gold)), "")


def _wrong(gold: str, other: str) -> str:
    """A wrong answer of the same kind: one more, the next letter, another row's answer."""
    number = _number(gold)
    if _INTEGER.fullmatch(gold):
        return str(int(gold) + 1)
    if _DECIMAL.fullmatch(gold):
        return f"{float(gold) + 1:.{len(gold.partition('.')[2])}f}"
    if number is not None:
        return str(number + 1)
    if kind_of(gold) == "choice":
        letter = gold.strip("()")
        return gold.replace(letter, "A" if letter != "A" else "B")
    if other and kind_of(other) == "text":
        return other
    return f"not {gold}" if gold else "wrong"


def _example(prompt: Prompt) -> str:
    """The last example's answer: what the assistant says before the question."""
    said: list[Any] = [m["content"] for m in prompt.messages if m["role"] == "assistant"]
    return final_answer(said[-1]) if said else ""

"""The five rewards of the best-known GSM8K script, written by W. Brown (github.com/willccbb).

They sum to at most 4: correctness 2, an integer 0.5, two forms 0.5 each, and 0.5 for the tags. The
completion is ``<reasoning>...</reasoning>`` and ``<answer>...</answer>``, each tag on a line of its own.
``legacy: true`` repeats the script bug for bug; the default differs where it is arguably wrong, and
each setting says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.api import Config, last_tag, parse_number, strip_thinking
from grpokit_math.rewards.answer import gold_text, normal_form
from grpokit_math.rewards.scanners import soft_form, strict_form
from grpokit_math.verify import verify

__all__ = [
    "CorrectnessConfig",
    "IntConfig",
    "SoftConfig",
    "StrictConfig",
    "XmlCountConfig",
    "correctness",
    "correctness_answer",
    "int_format",
    "soft_format",
    "strict_format",
    "xml_count",
]


class CorrectnessConfig(Config):
    """Settings of the reward `gsm8k-correctness`."""

    legacy: bool = False
    """As the script: the answer must be the same text as the gold answer, and a completion without tags is an answer as a whole."""


class IntConfig(Config):
    """Settings of the reward `gsm8k-int`."""

    legacy: bool = False
    """As the script: negative integers and digits with commas earn nothing, digits such as ² do, and a completion without tags is an answer as a whole."""


class SoftConfig(Config):
    """Settings of the reward `gsm8k-soft-format`."""

    legacy: bool = False
    """As the script: reasoning or an answer of more than one line earns nothing, nor does white space before the first tag."""


class StrictConfig(Config):
    """Settings of the reward `gsm8k-strict-format`."""

    legacy: bool = False
    """As the script: reasoning or an answer of more than one line earns nothing, nor does a completion that does not end with a line break."""


class XmlCountConfig(Config):
    """Settings of the reward `gsm8k-xml-count`."""

    legacy: bool = False
    """As the script: text behind the answer is counted twice, a completion that ends with `</answer>` loses 0.001 for each of its characters, and the score has no lower bound."""


def correctness(config: CorrectnessConfig) -> Callable[[str, Any], float | None]:
    """Builds the reward: 2 if the text in the answer tag is the gold answer, else 0 (R14).

    Numbers are compared as numbers, so ``1,000`` and ``$1000`` are right for 1000; ``legacy`` compares
    text. The gold answer of a GSM8K solution stands behind ``####``. Abstains without a gold answer.
    """

    def score(completion: str, answer: Any) -> float | None:
        gold = gold_text(answer)
        if gold is None:
            return None
        if config.legacy:
            return 2.0 * (_script_answer(completion) == _script_gold(answer, gold))
        return 2.0 * verify(gold, _tagged(completion)).correct

    return score


def correctness_answer(config: CorrectnessConfig) -> Callable[[str], str | None]:
    """What the reward `gsm8k-correctness` reads in a completion, for votes."""
    if config.legacy:
        return _script_answer

    def read(completion: str) -> str | None:
        found = _tagged(completion)
        return None if found is None else normal_form(found)

    return read


def int_format(config: IntConfig) -> Callable[[str], float]:
    """Builds the reward: 0.5 if the answer tag holds an integer, else 0 (R15)."""

    def score(completion: str) -> float:
        if config.legacy:
            return 0.5 * _script_answer(completion).isdigit()
        found = _tagged(completion)
        plain = found is not None and set(found) <= set("0123456789,-+\u2212")
        value = parse_number(found) if found is not None and plain else None
        return 0.5 * (value is not None and value.denominator == 1)

    return score


def soft_format(config: SoftConfig) -> Callable[[str], float]:
    """Builds the reward: 0.5 if the completion begins with a block of each tag, else 0 (R16).

    The script matches without ``DOTALL``, so reasoning with a line break, which is all reasoning that
    keeps to the script's own prompt, never matches. The default reads across lines.
    """
    return lambda completion: 0.5 * soft_form(completion, legacy=config.legacy)


def strict_format(config: StrictConfig) -> Callable[[str], float]:
    """Builds the reward: 0.5 if the completion is the form to the line break, else 0 (R17).

    The script matches without ``DOTALL``, so only reasoning of a single line earns it. The default
    reads across lines, asks each tag once, and lets the last line break be missing.
    """
    return lambda completion: 0.5 * strict_form(completion, legacy=config.legacy)


def xml_count(config: XmlCountConfig) -> Callable[[str], float]:
    """Builds the reward: 0.125 for each of the four tags that stands once on its line (R18).

    Text behind ``</answer>`` costs 0.001 a character, and the score does not fall below 0. The script
    takes that off twice, and from the whole completion where no line break follows the tag.
    """
    return _script_count if config.legacy else _count


def _tagged(completion: str) -> str | None:
    text = strip_thinking(completion)
    return None if text is None else last_tag(text, "answer")


def _script_answer(completion: str) -> str:
    return completion.rpartition("<answer>")[2].partition("</answer>")[0].strip()


def _script_gold(answer: Any, gold: str) -> str:
    """What the script makes of a solution; a gold answer of another kind is what it is."""
    if isinstance(answer, str) and "####" in answer:
        found = answer.partition("####")[2].partition("####")[0]
        return found.strip().replace(",", "").replace("$", "")
    return answer if isinstance(answer, str) else gold


def _count(completion: str) -> float:
    text = completion.strip()
    tags = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")
    total = 0.125 * sum(text.count(tag) == 1 for tag in tags)
    tail = text.rpartition("</answer>")[2] if "</answer>" in text else ""
    return max(0.0, total - 0.001 * len(tail))


def _behind(text: str, tag: str) -> int:
    """Characters behind the last of the tags, counted as ``split`` finds them; all where there is none."""
    *_, tail = text.split(tag)
    return len(tail)


def _script_count(completion: str) -> float:
    total = 0.125 * (completion.count("<reasoning>\n") == 1)
    total += 0.125 * (completion.count("\n</reasoning>\n") == 1)
    if completion.count("\n<answer>\n") == 1:
        total += 0.125
        total -= 0.001 * _behind(completion, "\n</answer>\n")
    if completion.count("\n</answer>") == 1:
        total += 0.125
        total -= 0.001 * (_behind(completion, "\n</answer>") - 1)
    return total

"""The rewards of Unsloth's GRPO notebooks: working-out tags, and credit for being close.

The completion is ``...<end_working_out> <SOLUTION>5</SOLUTION>``. The chat template of the notebooks
begins the answer with ``<start_working_out>``; with another one the model writes that tag itself. ``legacy: true`` repeats the
notebook bug for bug; the default differs where it is arguably wrong, and each setting says how.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from pydantic import Field

from grpokit.api import Config, parse_number, strip_thinking
from grpokit_math.rewards.answer import gold_number, gold_text
from grpokit_math.rewards.scanners import after_spaces, between, each_once

__all__ = [
    "ApproximateConfig",
    "CloseConfig",
    "ExactConfig",
    "NumbersConfig",
    "TagsConfig",
    "check_numbers",
    "match_format_approx",
    "match_format_exact",
    "notebook_solution",
    "proximity",
    "solution_number",
]

NUMBER = re.compile(r"-?[\d.,]+")
"""A number of the notebook, found in linear time."""

CLOSE_BY = ((Fraction(9, 10), Fraction(11, 10), 2.0), (Fraction(4, 5), Fraction(6, 5), 1.5))
"""Ratios of answer and gold answer, and what they earn."""


class TagsConfig(Config):
    """The tags."""

    reasoning_end: str = Field(default="<end_working_out>", min_length=1)
    """Text that ends the working out."""
    solution_start: str = Field(default="<SOLUTION>", min_length=1)
    """Text before the answer."""
    solution_end: str = Field(default="</SOLUTION>", min_length=1)
    """Text behind the answer."""


class ExactConfig(TagsConfig):
    """Settings of the reward `match-format-exact`."""

    legacy: bool = False
    """As the notebook: tags may repeat, white space is a solution, and text may follow on further lines."""


class ApproximateConfig(TagsConfig):
    """Settings of the reward `match-format-approx`."""

    reasoning_start: str | None = Field(default=None, min_length=1)
    """Text that begins the working out, where the completion and not the prompt has it, such as `<start_working_out>`."""


class NumbersConfig(TagsConfig):
    """Settings of the reward `check-numbers`."""

    legacy: bool = False
    """As the notebook: the first number anywhere behind the first solution tag counts, and what cannot be read earns 0, more than a wrong number."""


class CloseConfig(TagsConfig):
    """Settings of the reward `proximity`."""

    legacy: bool = False
    """As the notebook: the form must match, other ways to write the number are only close to it, and no answer earns -2, more than a wrong number."""


def match_format_exact(config: ExactConfig) -> Callable[[str], float]:
    """Builds the reward: 3 if the completion has the form, else 0 (R12).

    The form is the end of the working out, then a solution that is not empty, then nothing but white
    space; each tag once.
    """

    def score(completion: str) -> float:
        if config.legacy:
            return 3.0 * (notebook_solution(completion, config) is not None)
        text = completion.strip()
        tags = (config.reasoning_end, config.solution_start, config.solution_end)
        content = between(text, config.solution_start, config.solution_end)
        good = each_once(text, tags) and text.endswith(config.solution_end) and content is not None
        return 3.0 * good

    return score


def match_format_approx(config: ApproximateConfig) -> Callable[[str], float]:
    """Builds the reward: +0.5 for each tag that occurs once, -1 for each that does not (R12).

    1.5 to -3 with the three tags of the notebook, 2 to -4 with ``reasoning_start``.
    """
    tags = [config.reasoning_end, config.solution_start, config.solution_end]
    if config.reasoning_start is not None:
        tags.append(config.reasoning_start)
    return lambda completion: sum(0.5 if completion.count(tag) == 1 else -1.0 for tag in tags)


def check_numbers(config: NumbersConfig) -> Callable[[str, Any], float | None]:
    """Builds the reward: 3.5 for the right number, -1.5 for a wrong one, -2.5 for none (R13).

    A solution that cannot be read as one number is none; in the notebook it earns 0, which teaches a
    model that cannot solve the question to write words. Abstains where the gold answer is no number.
    """

    def score(completion: str, answer: Any) -> float | None:
        if config.legacy:
            gold_words = gold_text(answer)
            return None if gold_words is None else _notebook_number(completion, gold_words, config)
        gold = gold_number(answer)
        if gold is None:
            return None
        content = _solution(completion, config)
        found = None if content is None else parse_number(content)
        if found is None:
            return -2.5
        return 3.5 if found == gold else -1.5

    return score


def solution_number(config: NumbersConfig) -> Callable[[str], str | None]:
    """What the reward `check-numbers` reads in a completion, for votes."""

    def read(completion: str) -> str | None:
        if config.legacy:
            return _notebook_text(completion, config)
        content = _solution(completion, config)
        found = None if content is None else parse_number(content)
        return None if found is None else str(found)

    return read


def proximity(config: CloseConfig) -> Callable[[str, Any], float | None]:
    """Builds the reward: the closer the number, the more it earns (R11).

    5 for the gold text, 3.5 for the same number in other words, 2 if answer / gold lies in [0.9, 1.1],
    1.5 in [0.8, 1.2], -2.5 for any other number, -4.5 for what is no number or not there. For the gold
    answer 0 no ratio is close. Abstains where the gold answer is no number.

    In the notebook a completion without the form earns -2, more than an honest wrong number; here it
    earns -4.5.
    """

    def score(completion: str, answer: Any) -> float | None:
        gold_words = gold_text(answer)
        if config.legacy:
            return None if gold_words is None else _notebook_close(completion, gold_words, config)
        gold = None if gold_words is None else parse_number(gold_words)
        if gold is None:
            return None
        content = _solution(completion, config)
        if content == gold_words:
            return 5.0
        found = None if content is None else parse_number(content)
        if found is None:
            return -4.5
        return 3.5 if found == gold else _by_ratio(found / gold if gold else None)

    return score


def notebook_solution(text: str, tags: TagsConfig) -> str | None:
    r"""The group of the notebook's ``{end}.*?{start}(.+?){stop}\s*$``, with ``DOTALL`` and ``MULTILINE``.

    The first of each tag gives the most room for what follows, so no other has to be tried. ``$`` also
    matches before a line break.
    """
    begin = text.find(tags.reasoning_end)
    if begin < 0:
        return None
    start = text.find(tags.solution_start, begin + len(tags.reasoning_end))
    if start < 0:
        return None
    start += len(tags.solution_start)
    stop = text.find(tags.solution_end, start + 1)
    while stop >= 0:
        behind = stop + len(tags.solution_end)
        end = after_spaces(text, behind)
        if end == len(text) or "\n" in text[behind:end]:
            return text[start:stop]
        # A space more is not looked at twice: the next tag begins behind them.
        stop = text.find(tags.solution_end, stop + 1)
    return None


def _solution(completion: str, tags: TagsConfig) -> str | None:
    text = strip_thinking(completion)
    return None if text is None else between(text, tags.solution_start, tags.solution_end)


def _by_ratio(ratio: Fraction | float | None) -> float:
    if ratio is not None:
        for low, high, earned in CLOSE_BY:
            if low <= ratio <= high:
                return earned
    return -2.5


def _notebook_text(completion: str, tags: TagsConfig) -> str | None:
    start = completion.find(tags.solution_start)
    hit = None if start < 0 else NUMBER.search(completion, start + len(tags.solution_start))
    return None if hit is None else hit.group().replace(",", "")


def _notebook_number(completion: str, gold: str, tags: TagsConfig) -> float:
    found = _notebook_text(completion, tags)
    if found is None:
        return -2.5
    try:
        return 3.5 if float(found) == float(gold) else -1.5
    except ValueError:
        return 0.0


def _notebook_close(completion: str, gold: str, tags: TagsConfig) -> float:
    guess = notebook_solution(completion, tags)
    if guess is None:
        return -2.0
    if guess == gold:
        return 5.0
    if guess.strip() == gold.strip():
        return 3.5
    try:
        ratio = float(guess) / float(gold)
    except (ValueError, ZeroDivisionError):
        return -4.5
    # Compared as the notebook does, with floats.
    if 0.9 <= ratio <= 1.1:
        return 2.0
    return 1.5 if 0.8 <= ratio <= 1.2 else -2.5

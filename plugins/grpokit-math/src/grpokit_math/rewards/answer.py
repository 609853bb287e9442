r"""What every reward about correctness needs: the gold answer as text, and the verdict about a completion."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any, NamedTuple

from pydantic import Field

from grpokit.api import (
    Config,
    RowError,
    has_boxed,
    last_boxed,
    last_hash,
    last_tag,
    normal_answer,
    parse_number,
)
from grpokit_math.extract import Extracted, Extractor, extract
from grpokit_math.extract.chain import as_text
from grpokit_math.verify import Verdict, verify
from grpokit_math.verify.answer import read as parsed
from grpokit_math.verify.verdict import Gate

__all__ = [
    "AnswerConfig",
    "Judged",
    "gold_number",
    "gold_text",
    "judge",
    "normal_form",
    "read_answer",
]


LONGEST_GOLD = 512
"""Characters of the longest answer that the verifier reads."""
MOST_GOLD_WORDS = 24
"""Words of an answer in words; more are sentences."""


class AnswerConfig(Config):
    """Settings of every reward that asks whether the answer is right."""

    extract: list[Extractor] = Field(default=["boxed"], min_length=1)
    r"""Where the answer stands: `boxed` (`\boxed{5}`), `tag` (`<answer>5</answer>`), `hash` (`#### 5`), `nearest` (the number behind the word "answer") or `last-number`. The next of the list is asked only where a completion does not use the form before it at all."""
    tag: str = Field(default="answer", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """The tag of the extractor `tag`."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """Relative error of a number that still counts as equal; 0 compares exactly."""
    seconds: float = Field(default=2.0, gt=0, le=60)
    """Time for one symbolic comparison. One that takes longer is a wrong answer, and is counted."""


class Judged(NamedTuple):
    """What was found and what the verifier says about it."""

    verdict: Verdict
    found: Extracted


def judge(completion: str, gold: str, config: AnswerConfig) -> Judged:
    """Extracts and verifies."""
    found = extract(completion, config.extract, tag=config.tag)
    verdict = verify(gold, found.answer, tolerance=config.tolerance, seconds=config.seconds)
    return Judged(verdict, found)


def read_answer(config: AnswerConfig) -> Callable[[str], str | None]:
    """What rewards with these settings read in a completion, for votes."""

    def read(completion: str) -> str | None:
        found = extract(completion, config.extract, tag=config.tag).answer
        return None if found is None else normal_form(found)

    return read


def normal_form(answer: str) -> str | None:
    r"""An answer so that equal ones are equal texts: a number as a fraction, an expression by its tokens.

    ``\frac12``, ``0.5`` and ``1/2`` are one answer, and so are ``x+1`` and ``x + 1``. What only algebra shows
    to be equal, such as ``x+1`` and ``1+x``, are two.
    """
    if parse_number(answer) is None and len(answer) <= LONGEST_GOLD:
        with suppress(Gate):
            return " ".join(str(value) for _, value in parsed(answer).key) or None
    return normal_answer(answer)


def gold_text(answer: Any) -> str | None:
    r"""The gold answer of a row as text; None if the row has none, and the reward abstains.

    A number, its text, a GSM8K solution (what follows its last ``####``), a solution with a
    ``\boxed{}`` or an ``<answer>`` tag. A list of one is that one. NaN is what tables hold where nothing is.

    Raises:
        RowError: it is something else, or a whole solution that marks no answer: it would be compared
            as a whole, and no completion would ever be right.
    """
    if isinstance(answer, str):
        return _of_words(answer)
    if answer is None:
        return None
    if isinstance(answer, int):
        return str(answer)
    if isinstance(answer, float):
        return as_text(Fraction(str(answer))) if math.isfinite(answer) else None
    if isinstance(answer, list | tuple) and len(answer) == 1:
        return gold_text(answer[0])
    raise RowError(
        f"the gold answer of this row is a {type(answer).__name__}, not a text or number",
        remedy="repair the row, or name the column of the answer (dataset.columns.answer)",
    )


def _of_words(answer: str) -> str | None:
    if "####" in answer:
        return last_hash(answer)
    if has_boxed(answer):
        return last_boxed(answer)
    if "<answer>" in answer:
        return last_tag(answer, "answer")
    text = answer.strip()
    words = sum(word.strip(".,:;()").isalpha() for word in text[:LONGEST_GOLD].split())
    if len(text) > LONGEST_GOLD or words > MOST_GOLD_WORDS:
        raise RowError(
            f"the gold answer of this row is a text of {len(text):,} characters that marks no answer: "
            f"{text[:40]!r}...",
            remedy="name the column of the final answer (dataset.columns.answer), or mark it in the text "
            "with \\boxed{}, `#### ` or <answer></answer>",
        )
    return text or None


def gold_number(answer: Any) -> Fraction | None:
    """The gold answer as a number; None if the row has none that is one."""
    text = gold_text(answer)
    return None if text is None else parse_number(text)

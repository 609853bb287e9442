r"""The answer equals the gold number, exactly.

1 if the completion's answer is the same rational number as the gold answer, else ``partial`` if it is
a number, else 0. Numbers are compared as fractions: nothing is rounded, evaluated or guessed. See
``grpokit.answers.parse`` for what is read as a number. A thinking block that is still open means no
answer. The gold answer may be a number, its text, a GSM8K solution (``... #### 18``) or a boxed one; a
row whose gold answer is no number is a failure of that row, not a 0.

Measured on the project's 174 grading cases, of those whose gold is a plain number and whose verdict is
not a matter of policy (109): no false accept, one false reject (``\sqrt[3]{8}`` for 2; this reward does
no algebra).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from grpokit.api import (
    Config,
    RowError,
    has_boxed,
    last_boxed,
    last_hash,
    last_number,
    parse_number,
    strip_thinking,
)
from grpokit.builtins.rewards.choose import find_answer

__all__ = ["NumberConfig", "number"]

Form = Literal["boxed", "answer", "hash", "last", "whole"]


class NumberConfig(Config):
    """Settings of the reward `number`."""

    from_: list[Form] = Field(default=["boxed", "answer", "hash"], alias="from", min_length=1)
    r"""Where the answer stands: `boxed` (`\boxed{5}`), `answer` (`<answer>5</answer>`), `hash` (`#### 5`), `last` (the last number of the text) or `whole` (the text is the number). The first form that the completion uses counts."""
    partial: float = Field(default=0.0, ge=0, lt=1)
    """Score of a wrong answer that is a number."""
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    """Relative error that still counts as equal; 0 compares exactly."""


def number(config: NumberConfig) -> Callable[[str, Any], float]:
    """Builds the reward."""
    tolerance = Fraction(str(config.tolerance))

    def score(completion: str, answer: Any) -> float:
        gold = _gold(answer)
        found = _find(completion, config)
        if found is None:
            return 0.0
        return 1.0 if abs(found - gold) <= tolerance * abs(gold) else config.partial

    return score


def _find(completion: str, config: NumberConfig) -> Fraction | None:
    text = strip_thinking(completion)
    hit = None if text is None else find_answer(text, config.from_)
    if hit is None:
        return None
    form, content = hit
    return last_number(content) if form == "last" else parse_number(content)


def _gold(answer: Any) -> Fraction:
    value: Fraction | None = None
    if isinstance(answer, int) and not isinstance(answer, bool):
        value = Fraction(answer)
    elif isinstance(answer, float) and math.isfinite(answer):
        value = Fraction(str(answer))  # as it is written: 0.1 is one tenth
    elif isinstance(answer, str):
        text: str | None = answer
        if "####" in answer:
            text = last_hash(answer)
        elif has_boxed(answer):
            text = last_boxed(answer)
        value = None if text is None else parse_number(text)
    if value is None:
        raise RowError(
            f"the gold answer of this row is no number: {str(answer)[-80:]!r}",
            remedy="repair the row, name the column of the answer (dataset.columns.answer), or compare "
            "texts with the reward `exact`",
        )
    return value

"""What `number` and `exact` read in a completion, for votes and rates of an evaluation.

It stands apart from the rewards, whose source is part of every receipt: reading an answer changes no score.
"""

from __future__ import annotations

from collections.abc import Callable

from grpokit.api import strip_thinking
from grpokit.builtins.rewards.choose import find_answer
from grpokit.builtins.rewards.exact import ExactConfig
from grpokit.builtins.rewards.number import NumberConfig, _find

__all__ = ["exact_answer", "number_answer"]


def number_answer(config: NumberConfig) -> Callable[[str], str | None]:
    """The number as a fraction in lowest terms: ``1/2`` for 0.5 as well."""

    def read(completion: str) -> str | None:
        found = _find(completion, config)
        return None if found is None else str(found)

    return read


def exact_answer(config: ExactConfig) -> Callable[[str], str | None]:
    """The text as it is compared: without outer white space, and without its case where that does not count."""

    def read(completion: str) -> str | None:
        text = strip_thinking(completion)
        hit = None if text is None else find_answer(text, config.from_)
        if hit is None:
            return None
        answer = hit[1].strip()
        return answer.casefold() if config.ignore_case else answer

    return read

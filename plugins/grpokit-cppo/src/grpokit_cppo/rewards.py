"""The rewards of CPPO's experiments on GSM8K (arXiv 2503.22342), as its authors' code has them.

They are not general: the accuracy reward reads one data set's solutions and one form of completion.
``legacy: true`` repeats the released code bug for bug; the default differs where that code is
arguably wrong, and each setting says how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpokit.api import Config
from grpokit_cppo.answers import gold_answer, has_form, single_number, tagged_answer

__all__ = ["FormConfig", "Gsm8kConfig", "gsm8k_accuracy", "gsm8k_answer", "think_answer_format"]


class FormConfig(Config):
    """Settings of the reward `think-answer-format`."""

    legacy: bool = False
    """As the released code: white space around the completion is not ignored, and further lines may follow the last tag."""


class Gsm8kConfig(Config):
    """Settings of the reward `gsm8k-accuracy`."""

    legacy: bool = False
    """As the released code: where the row has no `####` answer, a completion without an answer earns 2."""


def think_answer_format(config: FormConfig) -> Callable[[str], float]:
    """Builds the reward: 1 for ``<think>...</think>``, a line break, ``<answer>...</answer>``, else 0."""

    def score(completion: str) -> float:
        return float(has_form(completion, legacy=config.legacy))

    return score


def gsm8k_accuracy(config: Gsm8kConfig) -> Callable[[str, Any], float]:
    """Builds the reward: 2 for the gold text, 1.5 for the same number in other words, else 0.

    The completion's answer stands in its last ``<answer>`` tag. The numbers are compared if answer and
    gold have exactly one each, so ``$18``, ``18.00`` and ``18 gallons`` earn 1.5 for 18, and ``18 gallons
    in 1 tank`` nothing. A row without a gold answer is a failure of that row: its group has no total
    and does not train.
    """

    def score(completion: str, answer: Any) -> float:
        gold = gold_answer(str(answer))
        if not gold and not config.legacy:
            raise ValueError(f"no answer follows #### in this row: {str(answer)[-80:]!r}")
        found = tagged_answer(completion)
        if found == gold:
            return 2.0
        if found is None or gold is None:
            return 0.0
        number = single_number(found)
        return 1.5 if number is not None and number == single_number(gold) else 0.0

    return score


def gsm8k_answer(config: Gsm8kConfig) -> Callable[[str], str | None]:
    """What the reward `gsm8k-accuracy` reads in a completion, for votes: its number if it has exactly one."""
    del config

    def read(completion: str) -> str | None:
        found = tagged_answer(completion)
        number = None if found is None else single_number(found)
        return found if number is None else f"{number:.15g}"

    return read

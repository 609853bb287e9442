"""The answer equals the gold text, character by character, outer white space aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from grpokit.api import Config, RowError, strip_thinking
from grpokit.builtins.rewards.choose import find_answer

__all__ = ["ExactConfig", "exact"]

Form = Literal["whole", "boxed", "answer", "hash"]


class ExactConfig(Config):
    """Settings of the reward `exact`."""

    from_: list[Form] = Field(default=["whole"], alias="from", min_length=1)
    r"""Where the answer stands: `whole` (the completion without its thinking), `boxed` (`\boxed{yes}`), `answer` (`<answer>yes</answer>`) or `hash` (`#### yes`). The first form that the completion uses counts."""
    ignore_case: bool = False
    """Compare without regard to upper and lower case."""


def exact(config: ExactConfig) -> Callable[[str, Any], float]:
    """Builds the reward: 1 if equal, else 0. A row without a gold answer is a failure of that row."""

    def normal(text: str) -> str:
        text = text.strip()
        return text.casefold() if config.ignore_case else text

    def score(completion: str, answer: Any) -> float:
        gold = normal(str(answer)) if answer is not None else ""
        if not gold:
            raise RowError(
                "the gold answer of this row is empty",
                remedy="repair the row, or name the column of the answer (dataset.columns.answer)",
            )
        text = strip_thinking(completion)
        hit = None if text is None else find_answer(text, config.from_)
        return float(hit is not None and normal(hit[1]) == gold)

    return score

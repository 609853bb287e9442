"""The smallest rule for sums: is there a number, and is it the right one?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field

from grpokit.api import Config, Score, parse_number
from grpokit_math.extract import Extractor, extract
from grpokit_math.rewards.answer import gold_number

__all__ = ["ArithmeticConfig", "arithmetic"]


class ArithmeticConfig(Config):
    """Settings of the reward `arithmetic`."""

    extract: list[Extractor] = Field(default=["last-number"], min_length=1)
    """Where the number stands; see the reward `accuracy`."""
    tag: str = Field(default="answer", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    """The tag of the extractor `tag`."""


def arithmetic(config: ArithmeticConfig) -> Callable[[str, Any], Score | None]:
    """Builds the reward: +1 or -1 for a number, +3 or -3 for the right one; the score is the sum (R07).

    So 4 for the right number, -2 for a wrong one, -4 for none. The components ``number`` and ``match``
    are the two parts. Abstains where the gold answer is no number.
    """

    def score(completion: str, answer: Any) -> Score | None:
        gold = gold_number(answer)
        if gold is None:
            return None
        text = extract(completion, config.extract, tag=config.tag).answer
        found = None if text is None else parse_number(text)
        number = 1.0 if found is not None else -1.0
        match = 3.0 if found == gold else -3.0
        return Score(value=number + match, components={"number": number, "match": match})

    return score

"""How much a text repeats itself."""

from __future__ import annotations

__all__ = ["GRAM", "repetition"]

GRAM = 4
"""Words of a run whose repetition counts."""


def repetition(text: str) -> float:
    """The share of runs of four words that the text has held before; 0.0 for fewer than five words.

    Words are what spaces separate. A text that says one sentence ten times has about 0.9.
    """
    words = text.split()
    count = len(words) - GRAM + 1
    if count < 1:
        return 0.0
    return 1 - len(set(zip(*(words[at:] for at in range(GRAM)), strict=False))) / count

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
    grams = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0

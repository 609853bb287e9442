"""The form in which answers are compared with each other, as in a vote: equal ones are equal texts."""

from __future__ import annotations

from grpokit.answers.parse import SAME, parse_number
from grpokit.answers.wrappers import has_boxed, last_boxed, last_hash, last_tag

__all__ = ["marked_answer", "normal_answer"]


def normal_answer(text: str) -> str | None:
    """A number as a fraction in lowest terms, and every other text without its outer and double spaces.

    ``1/2``, ``0.5`` and ``0.50`` are ``1/2``; ``7`` and ``7.0`` are ``7``. None for nothing but spaces.
    """
    value = parse_number(text)
    return str(value) if value is not None else " ".join(text.translate(SAME).split()) or None


def marked_answer(gold: object) -> str | None:
    """The normal form of a gold answer; of a whole solution, of what it marks as its answer."""
    if gold is None:
        return None
    text: str | None = str(gold)
    if "####" in str(gold):
        text = last_hash(str(gold))
    elif has_boxed(str(gold)):
        text = last_boxed(str(gold))
    elif "<answer>" in str(gold):
        text = last_tag(str(gold), "answer")
    return None if text is None else normal_answer(text)

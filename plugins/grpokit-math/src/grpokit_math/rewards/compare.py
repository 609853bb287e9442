"""Until the verifier is here: numbers and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grpokit.api import parse_number

__all__ = ["Verdict", "verify"]


@dataclass(frozen=True)
class Verdict:
    correct: bool
    stage: Literal["none", "text", "number", "set", "symbolic", "gate", "timeout", "error"]
    detail: str = ""


def verify(
    gold: str, answer: str | None, *, tolerance: float = 0.0, seconds: float = 2.0
) -> Verdict:
    del seconds
    if answer is None:
        return Verdict(correct=False, stage="none")
    if answer.strip() == gold.strip():
        return Verdict(correct=True, stage="text")
    one, two = parse_number(gold), parse_number(answer)
    if one is None or two is None:
        return Verdict(correct=False, stage="text")
    return Verdict(correct=abs(one - two) <= tolerance * abs(one), stage="number")

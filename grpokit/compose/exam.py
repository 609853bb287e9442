"""What an evaluation cannot ask: one check for recipes as they are written, and for those made in Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grpokit.spec.recipe import EvalSection

__all__ = ["Refusal", "refusals"]


@dataclass(frozen=True)
class Refusal:
    """A key of the section ``eval``, why its value cannot be, and what to do."""

    code: str
    key: str
    fact: str
    remedy: str


def refusals(section: EvalSection) -> Iterator[Refusal]:
    """Every reason why the answers that are asked for would say nothing."""
    samples, highest = section.samples, max(section.pass_at or (1,))
    if samples > 1 and not section.temperature:
        yield Refusal(
            "R627",
            "samples",
            f"{samples} greedy answers to a question are {samples} times the same",
            "set eval.temperature, to what the rollouts have for example",
        )
    if highest > samples:
        yield Refusal(
            "R628",
            "pass_at",
            f"pass@{highest} cannot be told from {samples} answer{'s' * (samples > 1)} to a question",
            f"set eval.samples to {highest} or more, or name smaller ones",
        )

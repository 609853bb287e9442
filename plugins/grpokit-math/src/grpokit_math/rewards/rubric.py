"""A rubric: small things that a program can check, each with a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from grpokit.api import Config, Score, compile_pattern, strip_thinking

__all__ = ["RubricConfig", "RubricItem", "rubric"]

CHECKS = ("contains", "regex", "column", "max_words", "min_words", "ends_with")

pattern = lru_cache(maxsize=256)(compile_pattern)
"""Items of one rubric are compiled once, when the settings are checked."""


class RubricItem(Config):
    """One item: a name, a weight, and exactly one thing to check."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of its component in the metrics."""
    weight: float = 1.0
    """What the item adds if it is met; a negative one makes it a fault."""
    contains: list[str] | None = Field(default=None, min_length=1)
    """Texts of which one has to occur. Case does not count."""
    regex: str | None = None
    """Regular expression that has to match somewhere, in linear time; without backreferences and look-around."""
    column: str | None = None
    """Column of the row whose text has to occur."""
    max_words: int | None = Field(default=None, ge=1)
    """Words of the longest completion that meets the item; an empty one does not."""
    min_words: int | None = Field(default=None, ge=1)
    """Words of the shortest completion that meets the item."""
    ends_with: list[str] | None = Field(default=None, min_length=1)
    """Texts with one of which the completion has to end."""

    @field_validator("regex")
    @classmethod
    def _linear(cls, value: str | None) -> str | None:
        if value is not None:
            pattern(value)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(getattr(self, check) is not None for check in CHECKS) != 1:
            raise ValueError(f"item {self.name}: give exactly one of {', '.join(CHECKS)}")
        if not all(text.strip() for text in (*(self.contains or ()), *(self.ends_with or ()))):
            raise ValueError(f"item {self.name}: an empty text occurs everywhere")
        return self


class RubricConfig(Config):
    """Settings of the reward `rubric`."""

    items: list[RubricItem] = Field(min_length=1, max_length=100)
    """Each `{name: ..., weight: 1.0}` with exactly one of `contains`, `regex`, `column`, `max_words`, `min_words`, `ends_with`."""
    normalise: bool = True
    """Divides by the sum of the positive weights, so that a completion that meets everything earns 1."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [item.name for item in self.items]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"items have the same name: {', '.join(twice)}")
        if self.normalise and not any(item.weight > 0 for item in self.items):
            raise ValueError("no item has a positive weight; set normalise: false")
        return self


def rubric(config: RubricConfig) -> Callable[[str, Mapping[str, Any]], Score | None]:
    """Builds the reward ``sum of w_i over the items that are met / sum of the positive w_i`` (R09).

    One large reward that is hard to define becomes many small ones that are not. Each item is a
    component of the metrics. Thinking blocks do not count, and a completion whose block is still open
    is read as an empty one. An item on a column that the row does not have is left out of both
    sums; if none is left the reward abstains.
    """

    def score(completion: str, row: Mapping[str, Any]) -> Score | None:
        text = strip_thinking(completion) or ""
        parts: dict[str, float] = {}
        total, most = 0.0, 0.0
        for item in config.items:
            met = _met(item, text, row)
            if met is None:
                continue
            parts[item.name] = float(met)
            total += item.weight * met
            most += max(item.weight, 0.0)
        if not parts or (config.normalise and most == 0.0):
            return None
        return Score(value=total / most if config.normalise else total, components=parts)

    return score


def _met(item: RubricItem, text: str, row: Mapping[str, Any]) -> bool | None:
    """None where the item does not apply to this row."""
    wanted = ""
    if item.column is not None:
        value = row.get(item.column)
        wanted = "" if value is None else str(value).strip()
        if not wanted:
            return None
    words = len(text.split())
    if item.max_words is not None:
        return 1 <= words <= item.max_words
    if item.min_words is not None:
        return words >= item.min_words
    if item.regex is not None:
        return pattern(item.regex)(text)
    lower = text.lower()
    if item.ends_with is not None:
        return lower.rstrip().endswith(tuple(end.strip().lower() for end in item.ends_with))
    return any(part.lower() in lower for part in (item.contains or [wanted]))

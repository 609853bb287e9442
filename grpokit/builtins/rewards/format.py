"""The completion has a form: tags in order, a box, or a pattern. 1 or 0, however often it occurs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from grpokit.api import Config, last_boxed, strip_thinking
from grpokit.builtins.rewards.linear import compile_pattern

__all__ = ["FormatConfig", "format_reward"]

Tag = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]


class FormatConfig(Config):
    """Settings of the reward `format`: exactly one of the three."""

    tags: list[Tag] | None = Field(default=None, min_length=1)
    """Tags that the completion consists of, such as `[think, answer]`: each once, in this order, closed, not empty, with nothing but white space around them."""
    boxed: bool = False
    r"""The completion has a `\boxed{...}` that is closed and not empty, outside thinking blocks."""
    regex: str | None = None
    """A regular expression that must match somewhere; `^` and `$` tie it to start and end. Matched in linear time, so without backreferences and look-around."""

    @field_validator("regex")
    @classmethod
    def _linear(cls, value: str | None) -> str | None:
        if value is not None:
            compile_pattern(value)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.tags is not None) + self.boxed + (self.regex is not None) != 1:
            raise ValueError("give exactly one of tags, boxed: true and regex")
        return self


def format_reward(config: FormatConfig) -> Callable[[str], float]:
    """Builds the reward."""
    if config.regex is not None:
        matches = compile_pattern(config.regex)
    elif config.tags is not None:
        tags = config.tags

        def matches(text: str) -> bool:
            return _consists_of(text, tags)
    else:
        matches = _has_box

    def score(completion: str) -> float:
        return float(matches(completion))

    return score


def _has_box(text: str) -> bool:
    rest = strip_thinking(text)
    return rest is not None and last_boxed(rest) is not None


def _consists_of(text: str, tags: list[str]) -> bool:
    rest = text.strip()
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if text.count(opening) != 1 or text.count(closing) != 1 or not rest.startswith(opening):
            return False
        content, found, rest = rest[len(opening) :].partition(closing)
        if not found or not content.strip():
            return False
        rest = rest.lstrip()
    return not rest

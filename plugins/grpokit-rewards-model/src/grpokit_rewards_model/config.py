"""The settings of the reward ``judge``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from grpokit_rewards_model.endpoint import EndpointConfig
from grpokit_rewards_model.question import check_template

__all__ = ["JudgeConfig"]


class JudgeConfig(EndpointConfig):
    """Settings of the reward `judge`."""

    model: str = Field(min_length=1)
    """Name of the model, as the endpoint calls it."""
    rubric: str = Field(min_length=1)
    """What the judge is to look at, and what earns how much."""
    template: str = "Question:\n{prompt}\n\nResponse to grade:\n{completion}"
    """What is shown. `{completion}`, `{prompt}` (the last user message) and `{column}` are put in as delimited data; `{{` and `}}` are braces."""
    lowest: float = 0.0
    """The worst grade that the judge can give; it scores 0."""
    highest: float = 10.0
    """The best one; it scores 1."""
    output: Literal["line", "json"] = "line"
    """How the verdict is to be given: on the last line, with reasons before it if the judge wants, or as one JSON object and nothing else."""
    temperature: float | None = Field(default=0.0, ge=0)
    """Temperature of the judge; null sends none, for models that refuse it."""
    seed: int | None = None
    """Seed for the endpoint; null sends none."""
    max_tokens: int = Field(default=1024, ge=1)
    """Tokens of the judge's answer. A verdict that they cut off is a failure."""
    reask: int = Field(default=1, ge=0)
    """Further requests after an answer without a readable verdict."""
    max_characters: int = Field(default=32_000, ge=1)
    """A longer completion is cut there; the judge is told, and the component `cut` is 1."""
    cache: str = ""
    """File of verdicts and spending. Empty: `judge.sqlite` in grpokit's cache folder."""
    reuse: bool = True
    """Take verdicts from the file where the same was asked before."""
    account: str = Field(default="default", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Under which name spending is summed up in the file, over runs and processes."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million tokens of the question."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million tokens of the answer."""
    max_cost: float | None = Field(default=None, gt=0)
    """What the account may spend in all. Before it would be more, the run ends with a checkpoint."""

    @field_validator("template")
    @classmethod
    def _readable(cls, value: str) -> str:
        check_template(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.highest <= self.lowest:
            raise ValueError("highest must be above lowest")
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("max_cost needs price_in and price_out, else nothing costs anything")
        return self
